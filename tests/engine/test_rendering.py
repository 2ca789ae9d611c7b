"""Making videos one after the other: what is there is skipped, what fails is noted, nothing else is lost."""

import csv
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.base import Clip, Job, SavedMotion
from engine.animator import Animator
from engine.distributed import Processes
from engine.evaluation import Reconstruction
from engine.records import Failures, Records
from engine.rendering import Renderer, Results, render_all, shard_jobs
from engine.results_page import write_page
from util.errors import UserError

CPU = Processes(torch.device("cpu"))


class Brighten:
    """A family that adds the source's number to every driving picture."""

    def encode_source(self, source):
        return {"add": source["add"][:, None, None, None].float() / 255}

    def animate(self, state, driving):
        return driving["image"] + state["add"], state

    def measure(self, driving):
        return {"image": driving["image"]}


class Writer:
    """Writes all frames into one file when the block ends well, as the writers of videos do."""

    wants_truncated = False
    facts: dict = {}

    def __init__(self, path):
        self.path, self.frames = path, []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            np.save(self.path.open("wb"), np.concatenate(self.frames))

    def write(self, items, made, truncated):
        assert len(items) == len(made)
        self.frames.append(made)


def pictures(count, broken=None):
    for index in range(count):
        if index == broken:
            raise UserError("frame 3 is damaged")
        yield {"image": torch.full((3, 2, 2), index / 255)}


def job(folder, name, frames=5, broken=None):
    def make():
        return Clip(name, {"add": torch.tensor(100)}, pictures(frames, broken), Fraction(25))

    return Job(name, make, folder / f"{name}.mp4")


def render(folder, jobs, *, alone=False, one=False, overwrite=False, debug=False, damage=(), measure=()):
    common_inputs = {"weights": "w", "options": "o"}
    results = Results(
        Records(folder, common_inputs),
        Failures(folder, (1, 1), 0, 1),
        one=one,
        overwrite=overwrite,
        strict=False,
        debug=debug,
    )

    @contextmanager
    def noting():
        yield list(damage)

    animator = Animator(Brighten(), CPU.device, batch_size=2)
    renderer = Renderer(animator, results, lambda clip, path: Writer(path), noting, measure=measure, explain=False)
    render_all(jobs, renderer, CPU, alone=alone)
    return results


def test_every_driving_frame_becomes_one_of_the_result_in_order(tmp_path):
    results = render(tmp_path, [job(tmp_path, "a")])
    assert np.load(tmp_path / "a.mp4")[:, 0, 0, 0].tolist() == [100, 101, 102, 103, 104]
    assert results.speed.frames == 5 and results.summarise() == 0


def test_existing_results_are_skipped_and_made_again_on_demand(tmp_path):
    render(tmp_path, [job(tmp_path, "a")])
    before = (tmp_path / "a.mp4").stat().st_mtime_ns
    assert render(tmp_path, [job(tmp_path, "a"), job(tmp_path, "b")]).skipped == 1
    assert (tmp_path / "a.mp4").stat().st_mtime_ns == before and (tmp_path / "b.mp4").exists()
    assert render(tmp_path, [job(tmp_path, "a", frames=2)], overwrite=True).skipped == 0
    assert len(np.load(tmp_path / "a.mp4")) == 2


def test_the_driving_motion_is_saved_even_if_the_result_exists(tmp_path):
    """An earlier command without --save_template made the result."""
    render(tmp_path, [job(tmp_path, "a")])
    before, saved = (tmp_path / "a.mp4").stat().st_mtime_ns, []

    def make():
        motion = SavedMotion(lambda: pictures(3), lambda pieces: saved.extend(len(piece["image"]) for piece in pieces))
        return Clip("a", {"add": torch.tensor(100)}, pictures(5), Fraction(25), saved_motion=motion)

    assert render(tmp_path, [Job("a", make, tmp_path / "a.mp4", saves_motion=True)]).skipped == 1
    assert saved == [2, 1] and (tmp_path / "a.mp4").stat().st_mtime_ns == before


def test_a_failure_stops_no_other_job_and_leaves_no_file(tmp_path):
    results = render(tmp_path, [job(tmp_path, "a", broken=3), job(tmp_path, "b")])
    assert not (tmp_path / "a.mp4").exists() and (tmp_path / "b.mp4").exists()
    assert results.summarise() == 1
    with (tmp_path / "failures.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert (row["name"], row["reason"]) == ("a", "frame 3 is damaged")
    assert render(tmp_path, [job(tmp_path, "a"), job(tmp_path, "b")]).summarise() == 0, "a failure is tried again"


@pytest.mark.parametrize("how", [{"alone": True}, {"debug": True}])
def test_the_error_of_a_single_result_ends_the_command(tmp_path, how):
    with pytest.raises(UserError, match="frame 3"):
        render(tmp_path, [job(tmp_path, "a", broken=3)], **how)


def test_a_full_disk_stops_all(tmp_path):
    def make():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        render(tmp_path, [Job("a", make, tmp_path / "a.mp4"), job(tmp_path, "b")])
    assert not (tmp_path / "b.mp4").exists()


def test_damage_of_a_video_is_recorded(tmp_path):
    render(tmp_path, [job(tmp_path, "a")], damage=["talk.mp4: 3 frames are missing"])
    (entry,) = Records(tmp_path, {}).entries()
    assert entry["damaged"] == "talk.mp4: 3 frames are missing" and entry["frames"] == 5


def test_reconstructions_are_measured_against_their_frames(tmp_path):
    render(tmp_path, [job(tmp_path, "a")], measure=[Reconstruction])
    (entry,) = Records(tmp_path, {}).entries()
    assert entry["l1"] == pytest.approx(100 / 255, abs=1e-5)


def test_a_single_named_result_needs_no_records(tmp_path):
    render(tmp_path, [job(tmp_path, "a")], alone=True, one=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4"}


def test_the_page_shows_results_of_earlier_commands(tmp_path):
    render(tmp_path, [job(tmp_path, "a")])
    render(tmp_path, [job(tmp_path, "b")])
    write_page(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "a.mp4" in page and "b.mp4" in page


@pytest.mark.parametrize("as_list", [True, False])
def test_shards_and_processes_share_all_jobs_out_once(as_list):
    taken = []
    for part, rank in ((part, rank) for part in (1, 2, 3) for rank in (0, 1)):
        jobs = list(range(20)) if as_list else iter(range(20))
        processes = SimpleNamespace(rank=rank, world=2)
        taken += shard_jobs(jobs, processes, (part, 3), None)
    assert sorted(taken) == list(range(20))
    assert list(shard_jobs(iter(range(20)), CPU, (1, 1), 4)) == [0, 1, 2, 3], "--max_clips"


def test_unexpected_errors_are_recorded_with_traceback(tmp_path, caplog):
    def make():
        raise ZeroDivisionError("by nobody")

    assert render(tmp_path, [Job("a", make, tmp_path / "a.mp4")]).summarise() == 1
    assert "Traceback" in caplog.text and "by nobody" in (tmp_path / "failures.csv").read_text()
