"""Pairs of a source and a driving video as clips."""

import pytest
from paths import ROOT
from sounding import with_sound

from data import find_dataset
from data.jobs import pairs
from data.video import open_video, write_image
from options import parse
from options.pairs import pair_settings, requests


@pytest.mark.parametrize("words", [[], ["--best_frame=2"], ["--fps=10"]])
def test_a_driving_video_is_opened_once_per_job(tmp_path, monkeypatch, words):
    driving = with_sound(tmp_path / "talk.mp4", "libx264")
    write_image(tmp_path / "me.png", open_video(driving)[0])
    opened = []
    for name in ("open_steady", "open_video"):
        function = getattr(pairs, name)
        monkeypatch.setattr(
            pairs, name, lambda path, *more, function=function: opened.append(path) or function(path, *more)
        )
    config = f"--config={ROOT / 'configs' / 'tiny' / 'fomm.yaml'}"
    pair = [f"--source_image={tmp_path / 'me.png'}", f"--driving_video={driving}", *words]
    opt = parse([config, *pair, f"--output={tmp_path / 'out.mp4'}"], training=False)
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    (job,) = pairs.jobs_of(requests(opt, True, tmp_path), dataset, pair_settings(opt), tmp_path)
    clip = job.make()
    assert clip.audio == driving and sum(1 for _ in clip.driving) == clip.length > 30
    assert opened == [driving]
