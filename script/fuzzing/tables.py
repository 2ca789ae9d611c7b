"""Tables (csv, xlsx), lines of JSON, other JSON, YAML, and texts of points and names."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from data.aus import read_ids
from data.expressions.annotations import read_annotations, write_annotations
from data.expressions.openface import choose_face, choose_person, read_table
from data.faces.crop import Crop
from data.faces.file_detector import FileDetector
from data.faces.file_detector import read_points as read_landmarks
from data.frames_prior import read_marks
from data.jobs.pair_list import read_pairs
from data.micro import coding_table
from data.structure.sequences import read_points
from engine.clock import Clock
from engine.records import Failures, Records
from engine.sinks import LogFile, ReportLog
from metrics.evaluation.comparing import read_run
from metrics.evaluation.pairing import listed_pairs
from metrics.evaluation.protocols import find_protocol
from metrics.parts.tables import openface_rows
from metrics.spotting import read_intervals
from models import find_family
from options import parse
from script.extract_frames import phases_of_lists
from script.fuzzing.damage import TEXT_TOKENS, in_zip
from script.fuzzing.oddities import in_csv, in_json, in_lines, in_yaml
from script.fuzzing.target import Target, written
from script.make_sample_dataset import read_settings
from script.voxceleb_crop import read_boxes, rows
from util.csv_table import write_table
from util.expressions import UNITS
from util.jsons import read_report

ROOT = Path(__file__).resolve().parents[2]


def texts(*contents: str | bytes) -> Callable[[Path], list[bytes]]:
    """Writes files with these contents."""
    return lambda folder: [content if isinstance(content, bytes) else content.encode() for content in contents]


def lines(*records: dict) -> str:
    """One JSON object per line."""
    return "".join(f"{json.dumps(record)}\n" for record in records)


def _csv(columns: Sequence[str], *cells: Sequence[Any]) -> Callable[[Path], list[bytes]]:
    table = [dict(zip(columns, row, strict=True)) for row in cells]
    return lambda folder: written(folder, "a.csv", lambda path: write_table(path, columns, table))


def _annotations(folder: Path) -> list[bytes]:
    values = {f"{k:03}_é": np.arange(17) % 5 + k / 4 for k in range(4)}
    return written(folder, "a.csv", lambda path: write_annotations(path, values))


UNIT_COLUMNS = [f"{unit.column}_r" for unit in UNITS]
_openface = _csv(
    ["frame", "face_id", "timestamp", "confidence", "success", *UNIT_COLUMNS, "p_scale"],
    *([frame, frame % 2, frame / 25, 0.9, 1, *(np.arange(17) % 5), 1.5] for frame in range(1, 7)),
)


def _workbook(folder: Path) -> list[bytes]:
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    for row in (["SAMM"], [], ["Subject", "Filename", "Onset", "Apex", "Offset", "Estimated Emotion"]):
        book.active.append(row)
    for number in range(5):
        book.active.append([number, f"00{number}_1_2", 10 + number, 20, 30 + number / 2, "Anger"])
    book.save(out)
    return [out.getvalue()]


def _crops(folder: Path) -> list[bytes]:
    boxes = np.array([[1, 2, 30, 40], [2.5, 2, 31.5, 40]])
    return written(
        folder, "a.json", Crop(boxes, (48, 64), 3, 2, "a.mp4").save, Crop(boxes[:1], (48, 64), video="b").save
    )  # fmt: skip


POINT_LINES = "".join(f"{k * 1.5},{k + 2}\n" for k in range(68))
RESULTS = lines(
    {"output": "a.mp4", "frames": 3, "weights": "00ff"},
    {"output": "b.mp4", "frames": 4, "damaged": ["short"]},
    {"output": "a.mp4", "frames": 5, "weights": "0"},
)
LOGGED = lines(*({"step": 10 * k, "epoch": 0.1 * k, "l1": 0.5} for k in range(1, 7)))
REPORTED = (
    "".join(f"(epoch: 1, iters: {k}, time: 0.{k}) G: 0.{k}\n" for k in range(5)),
    "".join(f"[a/b] (T, epoch: 1, it: {k}/20, t/smpl: 0.{k}s) g: 0.{k}\n" for k in range(5)),
)
BOXES = "Identity  : \tid1\nReference : \tabc\n\nFRAME \tX \tY \tW \tH\n" + "".join(
    f"{frame:06} \t0.3{frame} \t0.2 \t0.4 \t0.5\n" for frame in range(5)
)
MEASURED = {
    "total": {"l1": 0.1}, "videos": {"a": {"l1": 0.1}, "b": {"l1": 0.2}}, "definitions": {"l1": {"unit": "x"}},
    "sizes": {"a": [64, 64], "b": [64, 48]}, "protocol": None,
}  # fmt: skip
SETTINGS = {"identities": 3, "clips": 2, "frames": 8, "size": 64, "seed": 0, "layouts": ["frames"]}


def read_measured(path: Path) -> Any:
    """A measured run, and the sizes of its videos."""
    run = read_run(str(path))
    return [run.content, run.sizes]


def read_results(path: Path) -> Any:
    """The results of a folder, and whether one of them exists."""
    (path.parent / "a.mp4").touch()
    records = Records(path.parent, {"weights": "0"})
    records.has(path.parent / "a.mp4", {})
    return [records.entries(), records.current_entries()]


def read_log(path: Path) -> Any:
    """The remaining log when a run resumes."""
    LogFile(path, step=30)
    return path.read_bytes()


def read_reports(path: Path) -> Any:
    """The remaining logs in the originals' formats when a run resumes."""
    kept = []
    for name in ("face", "ganimation"):
        form, content = find_family(name).report_format, path.read_bytes()
        ReportLog(path, form.line, form.step_of, Clock(20))
        kept.append(path.read_bytes().splitlines()[:-1])  # the last one computes the time
        path.write_bytes(content)
    return kept


def read_failures(path: Path) -> Any:
    """The failures on the page."""
    return Failures.of_folder(path.parent)


def read_request_pairs(path: Path) -> Any:
    """The pairs of `test.py --pairs`."""
    return [request.inputs for request in read_pairs(path, path.parent / "results")]


def read_listed_pairs(path: Path) -> Any:
    """The pairs of `script/evaluate.py --pairs`."""
    for name in ("a.mp4", "b.mp4"):
        (path.parent / name).touch()
    return [str(pair) for pair in listed_pairs(path, {"result": path.parent, "truth": path.parent})]


def read_openface(path: Path) -> Any:
    """A table as its three readers use it."""
    table = read_table(path)
    openface_rows.cache_clear()
    if not table.is_sequence:
        return [table.intensities, choose_face(table)]
    return [table.intensities, choose_person(table), table.fps(), openface_rows(path)]


def read_codes(path: Path) -> Any:
    """The samples of a coding table."""
    return [asdict(sample) for sample in coding_table.read_table(path)]


def read_options(path: Path) -> Any:
    """The options of a run."""
    return [str(vars(parse([f"--config={path}", "--name=fuzz"], training=True)))]


def read_landmark_file(path: Path) -> Any:
    """Landmarks as a detector reads them."""
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    faces = FileDetector(path).clip("a").detect(frames)
    return [read_landmarks(path), [[face.box for face in found] for found in faces]]


def read_splits(path: Path) -> Any:
    """The phases by FaceForensics++'s lists."""
    for phase in ("train", "val", "test"):
        other = path.with_name(f"{phase}.json")
        if other != path:
            other.write_text("[]", encoding="utf-8")
    return phases_of_lists(path.parent, ["000", "003", "870"])


def read_metadata(path: Path) -> Any:
    """The clips of VoxCeleb's table."""
    return [str(row) for row in rows(path, path.parent)]


def read_spots(path: Path) -> Any:
    """The intervals of spotted expressions."""
    return {str(key): value for key, value in read_intervals(SimpleNamespace(tables={"spots": path}), "spots").items()}


def _yaml(*names: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(ROOT / "configs" / name).read_bytes() for name in names]


NESTED = """
dataset_params:
  root_dir: data/taichi-png
  frame_shape: [256, 256, 3]
  id_sampling: False
  augmentation_params:
    flip_param: {horizontal_flip: True, time_flip: True}
    jitter_param: {brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1}
model_params:
  common_params: {num_kp: 10, num_channels: 3, estimate_jacobian: True}
  kp_detector_params: {temperature: 0.1, block_expansion: 32, max_features: 1024, scale_factor: 0.25, num_blocks: 5}
  generator_params:
    block_expansion: 64
    max_features: 512
    num_down_blocks: 2
    num_bottleneck_blocks: 6
    estimate_occlusion_map: True
    dense_motion_params: {block_expansion: 64, max_features: 1024, num_blocks: 5, scale_factor: 0.25}
  discriminator_params: {scales: [1], block_expansion: 32, max_features: 512, num_blocks: 4}
train_params:
  num_epochs: 100
  num_repeats: 150
  epoch_milestones: [60, 90]
  lr_generator: 2.0e-4
  batch_size: 30
  scales: [1, 0.5, 0.25, 0.125]
  transform_params: {sigma_affine: 0.05, sigma_tps: 0.005, points_tps: 5}
  loss_weights: {generator_gan: 0, feature_matching: [10, 10, 10], perceptual: [10, 10, 10, 10, 10]}
"""


def _target(name: str, file: str, make: Callable, read: Callable, **more: Any) -> Target:
    return Target(name, file, make, read, **{"tokens": TEXT_TOKENS, **more})


CSV, JSON, YAML = (in_csv,), (in_json,), (in_yaml,)
PAIRS = _csv(["source", "driving", "frame", "output"], ["a.png", "b.mp4", 3, "c"], ["a.png", "c/b.mp4", "", ""])
MEASURED_PAIRS = _csv(["generated", "real"], ["a.mp4", "b.mp4"])
CODES = _csv(["Subject", "Filename", "Onset"], [1, "a", 10], [2, "b", "/"])
SPOTS = _csv(["video", "onset", "offset", "kind"], ["a", 3, 9, "micro"], ["b", 1, 90, "macro"])
MARKS = _csv(["name", "onset", "apex", "offset"], ["a", 1, 2, 3], ["b", 4, "", 6])
VOXCELEB = _csv(
    ["video_id", "start", "end", "bbox", "fps", "width", "height", "partition", "person_id"],
    ["abc", 10, 80, "10.0-20-300-310", "25", 640, 480, "train", "id1"],
)
FAILURES = _csv(Failures.COLUMNS, ["a", 2, "b", "c", "d", "e, f\ng"])
SPLITS = '[["000", "003"], ["870", "000"]]'
TINY = _yaml("tiny/fomm.yaml", "tiny/ganimation.yaml")
PROTOCOLS = _yaml("protocols/fomm.yaml", "protocols/sample.yaml")
REPORT = '{"frames": 3, "face": [1.5, null], "reason": "é"}'
# Errors about a value of an option name the option.
TARGETS = (
    _target("aus_csv", "case.csv", _annotations, read_annotations, within=CSV),
    _target("openface", "case.csv", _openface, read_openface, within=CSV),
    _target("coding_csv", "case.csv", CODES, read_codes, within=CSV),
    _target("coding_xlsx", "case.xlsx", _workbook, read_codes, within=(in_zip,), checked=True),
    _target("pairs", "case.csv", PAIRS, read_request_pairs, within=CSV),
    _target("pairs_measured", "case.csv", MEASURED_PAIRS, read_listed_pairs, within=CSV),
    _target("spots", "case.csv", SPOTS, read_spots, within=CSV),
    _target("marks", "case.csv", MARKS, read_marks, within=CSV),
    _target("voxceleb", "case.csv", VOXCELEB, read_metadata, within=CSV),
    _target("failures", "failures.csv", FAILURES, read_failures, within=CSV),
    _target("results", "results.jsonl", texts(RESULTS), read_results, within=(in_lines,), names_file=False),
    _target("log", "log.jsonl", texts(LOGGED), read_log, within=(in_lines,)),
    _target("reports", "loss_log.txt", texts(*REPORTED), read_reports),
    _target("measured", "metrics.json", texts(json.dumps(MEASURED)), read_measured, within=JSON),
    _target("report", "case.json", texts(REPORT), read_report, within=JSON),
    _target("crop", "case.json", _crops, Crop.load, within=JSON),
    _target("settings", "settings.json", texts(json.dumps(SETTINGS)), read_settings, within=JSON),
    _target("splits", "train.json", texts(SPLITS), read_splits, within=JSON, names_file=False),
    _target("boxes", "case.txt", texts(BOXES), read_boxes),
    _target("points", "case.txt", texts(POINT_LINES), read_points),
    _target("landmark_text", "case.txt", texts(POINT_LINES, POINT_LINES.replace(",", " ") * 2), read_landmark_file),
    _target("names", "train_ids.csv", texts("a.jpg\nb\tc\né.png\n"), read_ids),
    _target("yaml", "case.yaml", TINY, read_options, within=YAML, names_file=False),
    _target("yaml_nested", "case.yaml", texts(NESTED), read_options, within=YAML, names_file=False),
    _target("yaml_protocol", "case.yaml", PROTOCOLS, lambda path: find_protocol(str(path)), within=YAML),
)
