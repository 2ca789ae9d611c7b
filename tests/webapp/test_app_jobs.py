"""What the app makes, without its page: the model that ships on small drawn people."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.sample_faces import tiny_clip
from data.video import VideoWriter, open_video, write_image
from options import parse
from util.errors import RunError, UserError
from webapp import jobs
from webapp.jobs import Pair, Personal
from webapp.live import Live, Meter
from webapp.models import OWN_LABEL, Models, available_models
from webapp.work import Stopped, Work


@pytest.fixture(scope="module")
def models():
    """The models of the app."""
    return Models(torch.device("cpu"))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A picture, and a driving video of a few frames."""
    folder = tmp_path_factory.mktemp("people")
    frames, _ = tiny_clip(identity=5, frames=4, size=128)
    picture, _ = tiny_clip(identity=8, frames=1, size=128)
    write_image(folder / "me.png", picture[0])
    with VideoWriter(folder / "talk.mp4", 25) as writer:
        for frame in frames:
            writer.write(frame)
    return folder / "me.png", folder / "talk.mp4"


@pytest.fixture
def own(tmp_path):
    """The words of the model that ships."""
    return available_models(tmp_path)[OWN_LABEL]


def test_a_pair_becomes_a_video_and_a_comparison(models, people, own, tmp_path):
    work = Work(lambda work: None)
    outputs = jobs.animate(models, Pair(own, people[:1], people[1], {"relative_covar": True}), tmp_path, work)
    assert outputs.result == tmp_path / "talk-me.mp4"
    for path, width in ((outputs.result, 128), (outputs.comparison, 3 * 128)):
        with open_video(path) as video:
            assert len(video) == 4 and video.size == (128, width)


def test_names_of_long_inputs_fit_into_the_name_of_their_result():
    pair = Pair((), (Path(f"{'ä' * 120}.png"),), Path(f"{'t' * 240}.mp4"))
    name = jobs.name_of(pair)
    assert len(f"9_{name}_compared.mp4".encode()) <= 255 and name.startswith("ttt") and name.endswith("ää")
    assert jobs.name_of(Pair((), (Path("me.png"),), Path("talk.mp4"))) == "talk-me"


def test_stopped_work_leaves_no_file(models, people, own, tmp_path):
    work = Work(lambda work: None)
    work.stop()
    with pytest.raises(Stopped):
        jobs.animate(models, Pair(own, people[:1], people[1]), tmp_path, work)
    assert not list(tmp_path.glob("*.mp4"))


def test_several_models_are_compared_in_one_video(models, people, own, tmp_path):
    choices = {"one": own, "other": (*own, "--relative_covar")}
    pair = Pair((), people[:1], people[1], {"crop_image": True, "crop_video": True})
    results, together = jobs.compare(models, choices, pair, tmp_path, Work(lambda work: None))
    assert list(results) == ["one", "other"] and all(path.is_file() for path in results.values())
    with open_video(together) as video:
        assert len(video) == 4 and video.size[1] == 4 * jobs.PANEL
    with pytest.raises(UserError, match="at least two models"):
        jobs.compare(models, {"one": own}, pair, tmp_path, Work(lambda work: None))


@pytest.mark.slow
def test_a_table_becomes_a_page_and_failures_are_on_it(people, own, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("source,driving\nme.png,talk.mp4\nnobody.png,talk.mp4\n")
    work = Work(lambda work: None)
    page = jobs.batch(own, table, people, ["--quality=60"], tmp_path / "made", work)
    assert page == tmp_path / "made" / "index.html" and (tmp_path / "made" / "talk-me.mp4").is_file()
    assert "nobody.png" in page.read_text(encoding="utf-8")
    table.write_text("source,driving,output\nme.png,talk.mp4,../out\n")
    with pytest.raises(RunError, match="is outside the results folder"):
        jobs.batch(own, table, people, [], tmp_path / "refused", work)


def test_remote_users_cannot_name_files_of_this_machine(people, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("source,driving\nme.png,talk.mp4\n")
    jobs.refuse_paths(table, people)
    table.write_text(f"source,driving\n{people[0]},talk.mp4\n")
    with pytest.raises(UserError, match="line 2: .*me.png is not among the uploaded files"):
        jobs.refuse_paths(table, people)


def test_a_person_is_a_video_or_a_folder_of_pictures(people, tmp_path):
    assert jobs.person_of([people[1]], tmp_path) == people[1]
    folder = jobs.person_of([people[0], people[0]], tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["0000.png", "0001.png"]


def test_finetuning_is_a_command_of_train_py(people, tmp_path):
    personal = Personal("her", tmp_path / "runs" / "heads", people[1], 50, ("--content=pixels",))
    opt = parse(personal.arguments(tmp_path / "runs"), training=True)
    assert (opt.model, opt.name, opt.steps, opt.content) == ("talking_head_finetune", "her", 50, "pixels")
    assert Path(opt.source) == people[1] and Path(opt.init_from) == tmp_path / "runs" / "heads" and not opt.visdom
    (tmp_path / "runs" / "her").mkdir(parents=True)
    for name, message in (("her", "this run exists already"), ("a/b", "without /"), (" ", "without /")):
        other = Personal(name, personal.start, personal.person, 50)
        with pytest.raises(UserError, match=message):
            jobs.finetune(other, tmp_path / "runs", tmp_path, Work(lambda work: None))


def test_a_picture_follows_frames_one_by_one(models, people, own):
    live = Live(models.load(own), people[0], {"crop_image": True, "crop_video": True, "quality": 50})
    assert live.step(np.zeros((120, 160, 3), np.uint8)) is None and live.meter.line() == "waiting for frames"
    frames, _ = tiny_clip(identity=5, frames=3, size=128)
    outputs = [live.step(frame) for frame in frames]
    assert all(frame.shape == (128, 128, 3) for frame in outputs) and "frames/s" in live.meter.line()
    live.restart()
    assert np.array_equal(live.step(frames[0]), outputs[0])


def test_the_meter_is_a_moving_mean():
    meter = Meter()
    for moment in (0.0, 0.5, 1.0):
        meter.add(moment, moment + 0.1)
    assert meter.line() == "**2.0 frames/s** (100 ms of work for each)"
