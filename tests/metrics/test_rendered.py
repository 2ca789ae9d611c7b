"""Measuring results while they are made: parts that merge, results that are known again, failures without a trace."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

from data.base import Clip, Job
from metrics.evaluation import measuring
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.protocols import choose_protocol
from metrics.evaluation.rendered import Rendered
from metrics.evaluation.running import Plan
from metrics.l1 import L1
from metrics.metric import SetMetric, Video
from util.errors import UserError


class Brightness(SetMetric):
    """The mean of all pixels of all frames: replaces metrics over all frames, which need weights."""

    name, needs = "brightness", ("truth",)

    def __init__(self, tools):
        super().__init__(tools)
        self.sum, self.count = np.zeros(()), np.zeros((), int)

    def gather(self, batch):
        # Rounded so that sums are exact in any order, as FID's are.
        bright = np.round(batch.result.pixels.mean((1, 2, 3)).double().numpy() * 2**20) / 2**20
        self.sum, self.count = self.sum + bright.sum(), self.count + len(batch)

    def state(self):
        return {"sum": self.sum, "count": self.count}

    def merge(self, state):
        self.sum, self.count = self.sum + state["sum"], self.count + state["count"]

    def total(self):
        return float(self.sum / self.count), int(self.count)


@pytest.fixture
def with_brightness(monkeypatch):
    monkeypatch.setattr(
        measuring, "find_metrics", lambda names: [{"l1": L1, "brightness": Brightness}[n] for n in names]
    )


NAMES = ("b", "a", "c")


class Folder:
    """A folder of results as test.py fills it: a record for each, by parts that share the work."""

    def __init__(self, path, metrics=("l1", "brightness")):
        self.path, self.entries = path, {}
        self.protocol = choose_protocol(None, ["l1"], has_truth=True)
        self.plan = Plan(metrics=metrics, roles=("source", "truth"))

    def measure(self, names, part="", stop_at=None):
        """Make those that are not known yet; the names of what was made."""
        made = []
        with Rendered(self.plan, self.protocol, self.path, part=part, entries=list(self.entries.values())) as rendered:
            for name in names:
                if rendered.knows(self.entries.get(name, {})):
                    continue
                clip, batches = video(name)
                one = rendered.begin(Job(name, lambda: None, self.path / f"{name}.mp4"), clip)
                for frames, items in batches:
                    one.add(frames, items)
                    if name == stop_at:
                        raise KeyboardInterrupt
                self.entries[name] = {"output": f"{name}.mp4", "frames": 5} | one.facts()
                made.append(name)
        return made

    def write(self):
        rendered = Rendered(self.plan, self.protocol, self.path, entries=list(self.entries.values()))
        return rendered.write(list(self.entries.values()), [], ["test.py"])

    @property
    def content(self):
        return (self.path / "metrics.json").read_text()


def video(name):
    """Five frames and the driving items that they are compared with, in two batches."""
    rng = np.random.default_rng(ord(name))
    frames, real = (torch.from_numpy(rng.random((5, 3, 32, 32), np.float32)) for _ in range(2))
    clip = Clip(name, {"image": real[0]}, [], Fraction(25))
    parts = [slice(0, 3), slice(3, 5)]
    return clip, [(frames[part], [{"image": one} for one in real[part]]) for part in parts]


@pytest.fixture
def whole(tmp_path, with_brightness):
    """The measurement of a single process."""
    folder = Folder(tmp_path / "whole")
    assert folder.measure(NAMES) == list(NAMES)
    folder.write()
    return folder


def test_the_numbers_are_those_of_a_measurement_in_memory(whole):
    measurement = Measurement(["l1", "brightness"], ["truth", "source"])
    for name in NAMES:
        clip, batches = video(name)
        with measurement.video(Video(name), clip.source["image"][None]) as measured:
            for frames, items in batches:
                measured.add(frames, torch.stack([item["image"] for item in items]))
    content = json.loads(whole.content)
    assert content["total"]["brightness"]["frames"] == measurement.metrics[1].total()[0]
    assert content["total"]["brightness"]["n"] == content["total"]["l1"]["n"] == 15
    assert content["files"]["a"] == {"result": "a.mp4"} and content["failed"] == {}


def test_shards_merge_to_the_values_of_one_process(whole, tmp_path):
    shared = Folder(tmp_path / "shared")
    for index, part in enumerate(("_1_of_3", "_2_of_3", "_3_of_3")):
        shared.measure(NAMES[index : index + 1], part)
    shared.write()
    assert shared.content == whole.content
    assert (shared.path / "metrics.csv").read_bytes() == (whole.path / "metrics.csv").read_bytes()


def test_an_interrupted_command_resumes_without_partial_videos(whole, tmp_path):
    stopped = Folder(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.measure(NAMES, stop_at="a")
    assert stopped.measure(NAMES) == ["a", "c"]
    stopped.write()
    assert stopped.content == whole.content


def test_results_missing_in_the_merged_states_are_made_again(whole, tmp_path):
    """As after kill -9: records of videos are there, the state of what spans them is not."""
    killed = Folder(tmp_path / "killed")
    killed.measure(NAMES[:2])
    (killed.path / "measured.npz").unlink()
    assert killed.measure(NAMES) == list(NAMES)
    killed.write()
    assert killed.content == whole.content


def test_a_state_that_counts_a_replaced_result_does_not_count(whole, tmp_path):
    mixed = Folder(tmp_path / "mixed")
    mixed.measure(NAMES)
    del mixed.entries["c"]  # made anew by another part
    mixed.measure(["c"], "_1_of_2")
    assert mixed.measure(NAMES) == ["b", "a"]
    mixed.write()
    assert mixed.content == whole.content


def test_metrics_per_frame_need_no_states_and_other_metrics_are_measured_again(whole, tmp_path):
    folder = Folder(tmp_path / "plain", metrics=("l1",))
    folder.measure(NAMES[:2])
    assert not list(folder.path.glob("*.npz")) and folder.measure(NAMES) == ["c"]
    folder.plan = Plan(metrics=("l1",), roles=("source", "truth"), size=16)
    assert folder.measure(NAMES) == list(NAMES)


def test_damaged_measurements_repeat_only_their_videos(whole, caplog):
    (whole.path / "measured.npz").write_bytes(b"no archive")
    assert whole.measure(NAMES) == list(NAMES)
    assert "measured.npz: ignored" in caplog.text
    with (whole.path / "measured.jsonl").open("a") as file:
        file.write('{"key": "torn')
    assert whole.measure(NAMES) == []


def test_frames_are_resized_to_the_protocol_s_size(tmp_path):
    folder = Folder(tmp_path, metrics=("l1",))
    folder.plan = Plan(metrics=("l1",), roles=("truth",), size=16)
    folder.measure(NAMES)
    at_16 = json.loads(folder.write().line())["total"]["l1"]["frames"]
    folder.plan = Plan(metrics=("l1",), roles=("truth",))
    folder.measure(NAMES)
    assert at_16 < 0.8 * json.loads(folder.write().line())["total"]["l1"]["frames"], "noise shrinks with the size"


def test_missing_needs_are_reported_before_the_first_video(tmp_path):
    def build(*metrics, roles=("truth",), **more):
        return Rendered(
            Plan(metrics=metrics, roles=roles, **more), choose_protocol(None, ["l1"], has_truth=True), tmp_path
        )

    with pytest.raises(UserError, match="i3d_torchscript.pt is missing"):
        build("l1", "fvd")
    with pytest.raises(UserError, match="csim/arcface: .*w600k_r50.onnx is missing"):
        build("csim/arcface")
    with pytest.raises(UserError, match="pose/truth: needs files that are not set .*--drawn_truth"):
        build("pose/truth")
    with pytest.raises(UserError, match="--drawn_truth away: no such file or folder"):
        build("pose/truth", tables={"drawn_truth": "away"})
    with pytest.raises(UserError, match="l1: it compares the result with its truth"):
        build("l1", roles=("driving", "source"))
