"""LivePortrait by the commands: train two steps, resume, animate a pair with a template, edit."""

import json

import pytest
from paths import ROOT
from running import run

from data.video import open_video, read_image

pytestmark = pytest.mark.slow
TINY = f"--config={ROOT / 'configs' / 'tiny' / 'live_portrait.yaml'}"


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    words = (TINY, f"--dataroot={sample}", "--batch_size=2", "--num_repeats=1", "--gpu_id=-1", "--visdom=no")
    run(folder, *words, "--steps=2")
    run(folder, *words, "--steps=3", "--continue_train")
    return folder


def animate(folder, *arguments, status=0):
    return run(folder, TINY, "--cpu", *arguments, script="test.py", status=status)


def test_a_pair_its_template_and_an_edit(folder, sample):
    clip = sorted((sample / "test").glob("*.mp4"))[0]
    source = [f"--source_image={clip}", "--source_frame=1"]
    animate(folder, *source, f"--driving_video={clip}", "--save_template=nod.npz", "--output=out.mp4", "--compare")
    with open_video(folder / "out.mp4") as made:
        assert len(made) == 8 and made.size == (64, 3 * 64) and made.has_audio
    animate(folder, *source, "--driving_video=nod.npz", "--output=again.mp4")
    with open_video(folder / "again.mp4") as made:
        assert len(made) == 8 and made.size == (64, 64)
    animate(folder, *source, "--edit=yaw=10", "--edit_grid", "--results_dir=edits")
    assert read_image(folder / "edits" / f"{clip.stem}_edit.png").shape == (64, 64, 3)
    records = [json.loads(line) for line in (folder / "edits" / "results.jsonl").read_text().splitlines()]
    assert {record["name"] for record in records} == {f"{clip.stem}_edit", f"{clip.stem}_grid"}
    told = animate(folder, *source, "--edit=smil=1", status=2)
    assert "no such edit" in told and "Traceback" not in told
