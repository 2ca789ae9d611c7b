"""Action units: expressions by name, tables of OpenFace, pickles of others, the dataset, what pictures become."""

import os
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import REAL, REFERENCE, ROOT
from reference import formula

from data import find_dataset
from data.expressions.annotations import read_annotations, write_annotations
from data.expressions.clips import ExpressionSettings, read_driving
from data.expressions.faces import FaceFinder, FacePaster, square
from data.expressions.openface import choose_face, choose_person, read_table
from data.expressions.pyfeat import UnitReader
from data.expressions.unit_tables import collect, collect_pictures, means_table
from data.faces.crop import Crop
from data.faces.detector import Detector
from data.video.images import read_image, write_image
from engine.animator import to_bytes
from options import parse
from util.errors import UserError
from util.expressions import (
    EASINGS,
    PRESETS,
    UNITS,
    VIEWS,
    describe,
    find_unit,
    parse_expression,
    parse_sweeps,
    parse_units,
    transition,
    units_for,
)
from util.settings import settings_of

SAMPLE = REAL / "au_sample"
NAMES = [unit.column for unit in UNITS]


def options(*words: str, training: bool = False):
    return parse(["--model=ganimation", "--image_size=64", *map(str, words)], training)


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["12", "AU12", "au12", "AU12_r", "Lip Corner Puller", "lip_corner_puller", '"AU12"'])
def test_a_unit_is_found_by_its_number_or_name(name):
    assert UNITS[find_unit(name)].number == 12


def test_intensities_are_read_in_all_spellings():
    assert parse_units('12=3.5,AU6=2,"lip corner puller"=4') == {8: 4.0, 4: 2.0}
    assert parse_units("") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("13=2", "'13'.*Available: 1 "),
        ("lip corner pullr=2", "Did you mean lip corner puller"),
        ("12", "is not a number.*AU12=3.5"),
        ("12=6", "0 to 5"),
        ("12=-1", "0 to 5"),
    ],
)
def test_invalid_intensities_are_reported_with_an_example(text, says):
    with pytest.raises(UserError, match=says):
        parse_units(text)


def test_every_preset_is_a_possible_expression_with_a_source():
    for name, preset in PRESETS.items():
        vector = parse_expression(name)
        assert preset.source and vector.min() >= 0 and vector.max() <= 5
        assert (vector > 0).sum() == len(preset.intensities)


def test_presets_are_weakened_and_joined():
    assert describe(parse_expression("smile=0.5")) == "AU06 1.2, AU12 1.8"
    joined = parse_expression("smile,blink")
    assert joined[find_unit("45")] == 4.5 and joined[find_unit("12")] == 3.5
    with pytest.raises(UserError, match="Did you mean smile"):
        parse_expression("smlie")


def test_models_with_fewer_units_use_the_known_part_of_a_preset():
    assert parse_expression("smile", units_for(11)).shape == (11,)
    with pytest.warns(UserWarning, match="anger: this model does not know AU07, AU23; using the rest"):
        assert describe(parse_expression("anger", units_for(11)), units_for(11)) == "AU04 4.0, AU05 3.0"
    with pytest.raises(UserError, match="contempt: .* AU14, and the preset has no other units"):
        parse_expression("contempt", units_for(11))


def test_other_conditions_need_names():
    assert [unit.column for unit in units_for(2, ["AU12", "AU99"])] == ["AU12", "AU99"]
    with pytest.raises(UserError, match="--units"):
        units_for(5)
    with pytest.raises(UserError, match="2 units, but --cond_nc is 3"):
        units_for(3, ["AU12", "AU06"])


def test_sweeps_go_from_end_to_end_and_leave_the_rest():
    base = parse_expression("blink")
    first, second = parse_sweeps("AU12=0:5:30, 26=5:0:7")
    frames = np.stack(first.over(base))
    assert frames.shape == (30, 17) and len(second.over(base)) == 7
    assert (frames[0, 8], frames[-1, 8]) == (0, 5) and bool((np.diff(frames[:, 8]) > 0).all())
    assert bool((np.delete(frames, 8, axis=1) == np.delete(base, 8)).all())
    for wrong in ("AU12=0:5", "AU12=0:5:0", "AU12=0:9:4", "AU13=0:5:4"):
        with pytest.raises(UserError, match="AU1[23]"):
            parse_sweeps(wrong)


@pytest.mark.parametrize("easing", EASINGS)
def test_a_transition_moves_monotonically_between_expressions(easing):
    start, target = np.zeros(17), parse_expression("smile")
    frames = np.stack(transition(start, target, 12, easing))
    assert np.array_equal(frames[0], start) and np.allclose(frames[-1], target)
    assert bool((np.diff(frames[:, 8]) >= 0).all())


# --- tables of OpenFace -----------------------------------------------------------------------------------------------


def write_table(path: Path, rows: list[dict], header: tuple[str, ...] = ("face", "confidence"), comma=", ") -> Path:
    """A table of rows {"AU12_r": 2, ...}; what a row does not say is 0, its confidence 0.98."""
    names = [*header, *(f"{name}_r" for name in NAMES), *(f"{name}_c" for name in NAMES)]
    lines = [comma.join(names)]
    for index, row in enumerate(rows):
        known = {"confidence": 0.98, "success": 1, "frame": index + 1, "timestamp": index / 25, "face": index} | row
        lines.append(comma.join(f"{known.get(name, 0):.3f}" for name in names))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


SEQUENCE = ("frame", "face_id", "timestamp", "confidence", "success")


def test_columns_are_found_by_name(tmp_path):
    surrounded = ("face", "confidence", "gaze_0_x", "x_0", "p_scale")
    for header, comma in ((("face", "confidence"), ","), (surrounded, ", ")):
        table = read_table(write_table(tmp_path / "a.csv", [{"AU12_r": 2.5}], header, comma))
        assert table.intensities[0, 8] == 2.5 and table.intensities.sum() == 2.5 and not table.is_sequence


@pytest.mark.parametrize(("rate", "expected"), [(25, 25), (30, 30), (29.97, Fraction(30000, 1001)), (12.5, 12.5)])
def test_the_rate_is_that_of_the_timestamps(tmp_path, rate, expected):
    rows = [{"timestamp": round(index / rate, 3)} for index in range(200)]
    assert read_table(write_table(tmp_path / "a.csv", rows, SEQUENCE)).fps() == pytest.approx(expected, abs=1e-3)


def test_the_face_of_a_picture_is_the_largest_or_the_most_confident(tmp_path):
    rows = [{"confidence": 0.99, "p_scale": 1}, {"confidence": 0.8, "p_scale": 3}]
    table = read_table(write_table(tmp_path / "a.csv", rows, ("face", "confidence", "p_scale")))
    assert choose_face(table)[0] == 1 and choose_face(table, "confident")[0] == 0
    row, why = choose_face(read_table(write_table(tmp_path / "b.csv", rows)))
    assert row == 0 and "has no sizes" in why


def test_the_person_of_a_video_is_the_most_frequent_one(tmp_path):
    rows = [{"frame": frame, "face_id": person} for frame in (1, 2, 3) for person in ((0, 1) if frame == 2 else (1,))]
    table = read_table(write_table(tmp_path / "a.csv", rows, SEQUENCE))
    assert table.frame[choose_person(table)].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: "", "empty"),
        (lambda text: text.splitlines()[0], "no rows"),
        (lambda text: text.replace("AU12_r", "AU99_r"), "lacks the columns AU12_r"),
        (lambda text: text.replace("2.500", "nonsense"), "line 2, column AU12_r: 'nonsense' is not a number"),
        (lambda text: text.replace("2.500", "25.00"), "AU12_r is 25; the range is 0 to 5"),
        (lambda text: text[: len(text) // 3 * 2] + "\n", "line 2"),
    ],
)
def test_damaged_tables_are_refused_with_file_and_position(tmp_path, spoil, says):
    path = write_table(tmp_path / "a.csv", [{"AU12_r": 2.5}])
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UserError, match=says) as refused:
        read_table(path)
    assert "a.csv" in str(refused.value)


def test_tables_of_pictures_and_videos_are_gathered_and_skipped_items_are_listed(tmp_path):
    write_table(tmp_path / "one.csv", [{"AU12_r": 3}])
    write_table(tmp_path / "two.csv", [{"confidence": 0.8, "AU12_r": 1}, {"confidence": 0.9, "AU12_r": 2}])
    write_table(tmp_path / "dim.csv", [{"confidence": 0.3}])
    write_table(tmp_path / "film.csv", [{"AU12_r": 1}, {"success": 0}, {"AU12_r": 5}], SEQUENCE)
    (tmp_path / "torn.csv").write_text("face, confidence\n")
    collected = collect(sorted(tmp_path.glob("*.csv")))
    smiles = {name: values[8] for name, values in collected.annotations.items()}
    assert smiles == {"one": 3, "two": 2, "film_00001": 1, "film_00003": 5}
    assert [name for name, _ in collected.left_out] == ["dim", "film_00002", "torn"]
    assert collected.chosen == [("two", "the most confident of 2 faces; the table has no sizes")]
    row = next(row for row in means_table(collected.annotations) if row[0] == "AU12")
    assert row[2:] == ["2.750", "5.00", "1.000"]


def test_frames_of_two_videos_of_one_name_are_not_mixed(tmp_path):
    paths = [write_table(tmp_path / folder / "film.csv", [{}], SEQUENCE) for folder in "ab"]
    with pytest.raises(UserError, match="film_00001: annotated twice"):
        collect(paths)


def test_both_spellings_of_the_command_do_the_same(tmp_path):
    write_table(tmp_path / "tables" / "one.csv", [{"AU12_r": 3}])
    made = []
    for place in ("data", "script"):
        words = [ROOT / place / "prepare_au_annotations.py", "-ia", tmp_path / "tables", "-op", tmp_path / place]
        done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=True)
        assert "1 pictures in" in done.stdout and "lip corner puller" in done.stdout
        made.append((tmp_path / place / "aus_openface.pkl").read_bytes())
        assert (tmp_path / place / "aus_means.csv").is_file() and (tmp_path / place / "left_out.csv").is_file()
    assert made[0] == made[1]
    assert read_annotations(tmp_path / "data" / "aus_openface.pkl")["one"][8] == 3


# --- files of annotations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".csv"])
def test_annotations_survive_a_file(tmp_path, suffix):
    written = {f"face.{index}": np.round(np.random.default_rng(index).uniform(0, 5, 17), 2) for index in range(4)}
    write_annotations(tmp_path / f"a{suffix}", written)
    found = read_annotations(tmp_path / f"a{suffix}")
    assert found.keys() == written.keys()
    assert all(np.allclose(found[name], written[name]) for name in written)


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".csv"])
def test_models_with_fewer_units_read_a_subset(tmp_path, suffix):
    write_annotations(tmp_path / f"a{suffix}", {"a": np.arange(17) / 4})
    found = read_annotations(tmp_path / f"a{suffix}", units_for(3, ["AU26", "AU12", "AU25"]))
    assert found["a"].tolist() == [15 / 4, 8 / 4, 14 / 4]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (["a"], "holds a list"),
        ({1: np.zeros(17)}, "the key '1' is not text"),
        ({"a": np.zeros(3)}, r"a: \(3,\) values instead of 17; set --cond_nc"),
        ({"a": np.full(17, 7.0)}, "a: intensities from 7 to 7"),
        ({"a": np.full(17, np.nan)}, "a: intensities"),
        ({"a": np.array([None] * 17)}, "'O8' is not one of plain numbers"),
        ({"a": ["x"] * 17}, "not a row of numbers"),
        ({"a": [[1.0] * 17]}, "not a row of numbers"),
        ({}, "contains no pictures"),
    ],
)
def test_annotations_are_checked_by_picture(tmp_path, content, says):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(UserError, match=says):
        read_annotations(tmp_path / "a.pkl")


def test_damaged_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": np.zeros(17)}, 2)[:-20])
    with pytest.raises(UserError, match="a.pkl: cannot be read as a pickle"):
        read_annotations(tmp_path / "a.pkl")
    with pytest.raises(UserError, match=r"b.pkl: no such file.*--aus_file: a.pkl"):
        read_annotations(tmp_path / "b.pkl")


def test_scaled_intensities_cause_a_warning(tmp_path):
    write_annotations(tmp_path / "a.pkl", {"a": np.full(17, 0.5)})
    with pytest.warns(UserWarning, match="may already be scaled"):
        read_annotations(tmp_path / "a.pkl")


# --- dataset ----------------------------------------------------------------------------------------------------------


def write_dataset(root: Path, count: int = 6) -> Path:
    """Pictures of different kinds and sizes, in the layout of the original."""
    annotations = {}
    for index in range(count):
        name = f"face.{index:02d}"
        write_image(root / "imgs" / f"{name}{'.png' if index % 2 else '.jpg'}", picture(index, (64 + index, 64)))
        annotations[name] = np.random.default_rng(index).uniform(0, 5, 17)
    write_annotations(root / "aus_openface.pkl", annotations)
    names = [path.name for path in sorted((root / "imgs").iterdir())]
    (root / "train_ids.csv").write_text("".join(f"{name}\r\n" for name in names[:-2]) + "\r\n")
    (root / "test_ids.csv").write_text("".join(f"{name}\tx\n" for name in names[-2:]))
    return root


def dataset(root: Path, *words: str, training: bool = True):
    opt = options(f"--data_dir={root}", *words, training=training)
    return find_dataset(opt.dataset_mode)(opt, training)


def test_items_hold_picture_units_and_target_units(tmp_path):
    data = dataset(write_dataset(tmp_path), "--no_mirror")
    assert len(data) == 4
    annotations = read_annotations(tmp_path / "aus_openface.pkl")
    for index in range(len(data)):
        item = data[index]
        assert item["image"].shape == (3, 64, 64) and 0 <= float(item["image"].min()) <= float(item["image"].max()) <= 1
        assert np.allclose(item["aus"], annotations[item["name"]] / 5, atol=1e-6)
        gaps = [np.abs(item["desired"].numpy() - values / 5).max() for values in annotations.values()]
        assert min(gaps) <= 0.1


def test_half_of_the_pictures_are_mirrored_and_their_units_stay(tmp_path):
    write_dataset(tmp_path)
    plain = dataset(tmp_path, "--no_mirror")[0]["image"]
    data = dataset(tmp_path)
    found = [data[0]["image"] for _ in range(40)]
    mirrored = [not np.array_equal(one, plain) for one in found]
    assert 5 < sum(mirrored) < 35
    assert np.array_equal(found[mirrored.index(True)].flip(-1), plain)


def test_pictures_are_drawn_with_replacement_as_the_original_does(tmp_path):
    data = dataset(write_dataset(tmp_path), "--no_serial_batches")
    assert len({data[0]["name"] for _ in range(60)}) == 4


def test_a_dataset_smaller_than_the_batch_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"--batch_size 25: .* has only 4 training pictures.*--batch_size=4"):
        dataset(write_dataset(tmp_path), "--batch_size=25")


def test_what_is_missing_is_listed(tmp_path):
    write_dataset(tmp_path)
    (tmp_path / "imgs" / "face.00.jpg").unlink()
    write_image(tmp_path / "imgs" / "new.png", picture())
    with (tmp_path / "train_ids.csv").open("a") as file:
        file.write("new.png\n")
    with pytest.warns(UserWarning) as warned:
        assert len(dataset(tmp_path, "--batch_size=3")) == 3
    messages = " | ".join(str(one.message) for one in warned)
    assert "skipped 1 of 5 names with no picture" in messages and "face.00" in messages
    assert "with no action units: new" in messages


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: (root / "train_ids.csv").unlink(), "no such list of pictures"),
        (lambda root: (root / "train_ids.csv").write_text("\n"), "empty"),
        (lambda root: (root / "train_ids.csv").write_text("other.jpg\n"), "none of its 1 names"),
        (lambda root: (root / "imgs").rename(root / "pictures"), "--images_folder"),
        (lambda root: (root / "aus_openface.pkl").rename(root / "aus.pkl"), "--aus_file: aus.pkl"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_unusable_folder_is_reported_with_what_it_lacks(tmp_path, spoil, says):
    spoil(write_dataset(tmp_path))
    with pytest.raises(UserError, match=says):
        dataset(tmp_path)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of the original is not here")
@pytest.mark.filterwarnings("ignore:.*may already be scaled")
def test_the_sample_of_the_original_is_read(tmp_path):
    annotations = read_annotations(SAMPLE / "aus_openface.pkl")
    assert len(annotations) == 4 and all(values.shape == (17,) for values in annotations.values())
    data = dataset(SAMPLE, "--batch_size=2", "--image_size=128")
    assert sorted(data[index]["name"] for index in range(2)) == ["N_0000000356_00190", "N_0000000437_00540"]
    assert data[0]["image"].shape == (3, 128, 128)


# --- what becomes of pictures -----------------------------------------------------------------------------------------


class Boxes(Detector):
    """Finds faces where the test puts them."""

    def __init__(self, *boxes: tuple[float, ...]):
        self.boxes = [np.array(box, float) for box in boxes]

    def find(self, frames, near=False):
        return [[(box, 1.0) for box in self.boxes] for _ in frames]

    def landmarks_of(self, frames, boxes):
        corners = [np.stack([np.linspace(b[0], b[2], 68), np.linspace(b[1], b[3], 68)], 1) for b in self.boxes]
        return [corners for _ in frames]


def clips_of(tmp_path: Path, *words: str, boxes=((40, 30, 80, 70),)):
    """The clips of a picture of 120 x 160 with faces in these boxes."""
    path = tmp_path / "me.jpg"
    write_image(path, picture(0, (120, 160)))
    opt = options(f"--input_path={path}", f"--output_dir={tmp_path}", *words)
    data = find_dataset("aus")(opt, training=False)
    clips = data.expression_clips()
    clips.faces.detector = Boxes(*boxes)
    return {clip.name: clip for clip in clips.clips([], np.zeros((0, 17)))}


def test_a_picture_becomes_a_still_and_the_panel_of_the_original(tmp_path):
    clips = clips_of(tmp_path, "--au", "12=3.5")
    assert list(clips) == ["me", "me.jpg_out"]
    assert [clip.output.name for clip in clips.values()] == ["me.png", "me.jpg_out.png"]
    (item,) = clips["me"].driving
    assert item["aus"].tolist() == [pytest.approx(0.7 if index == 8 else 0) for index in range(17)]
    panel = list(clips["me.jpg_out"].driving)
    assert [VIEWS[item["view"]] for item in panel] == list(VIEWS)
    assert clips["me.jpg_out"].sheet["columns"] == 7


@pytest.mark.parametrize(
    ("words", "frames"),
    [
        (["--sweep=AU12=0:5:30"], 30),
        (["--sweep=AU12=0:5:30,AU26=0:5:12,45=0:4:3"], 45),
        (["--expression=smile", "--interpolate=9"], 9),
        (["--expression=smile"], 1),
        ([], 1),
    ],
)
def test_movements_have_the_requested_number_of_frames(tmp_path, words, frames):
    clip = clips_of(tmp_path, *words)["me"]
    assert len(list(clip.driving)) == clip.length == frames
    assert clip.output.name == ("me.png" if frames == 1 else "me.mp4")


def test_units_go_over_presets_and_intensity_over_both(tmp_path):
    clip = clips_of(tmp_path, "--expression=smile", "--au=12=1,4=2", "--intensity=0.5")["me"]
    (item,) = clip.driving
    found = {NAMES[index]: round(5 * value, 3) for index, value in enumerate(item["aus"].tolist()) if value}
    assert found == {"AU04": 1.0, "AU06": 1.25, "AU12": 0.5}


def test_movements_start_with_the_pictures_own_expression(tmp_path):
    write_table(tmp_path / "own" / "me.csv", [{"AU26_r": 4}])
    words = ["--expression=smile", "--interpolate=3", f"--own_aus={tmp_path / 'own'}"]
    first = next(iter(clips_of(tmp_path, *words)["me"].driving))
    assert first["aus"][15] == pytest.approx(0.8) and float(first["aus"].sum()) == pytest.approx(0.8)
    first = next(iter(clips_of(tmp_path, *words, "--start=neutral")["me"].driving))
    assert float(first["aus"].sum()) == 0
    panel = next(iter(clips_of(tmp_path, "--expression=smile", words[2])["me.jpg_out"].driving))
    assert panel["back"][15] == pytest.approx(0.8)


def test_panels_are_truncated_like_the_original_s_on_request(tmp_path):
    cut_off = {name: clip.cut_off for name, clip in clips_of(tmp_path, "--original_levels").items()}
    assert cut_off == {"me": None, "me.jpg_out": 254}
    assert {clip.cut_off for clip in clips_of(tmp_path).values()} == {None}
    values = np.clip(1.05 * formula.image("picture", (5, 3, 6, 8), 41, low=-1, high=1), -1, 1)
    mask = np.repeat(formula.image("mask", (5, 1, 6, 8), 41), 3, axis=1)
    with np.load(REFERENCE / "ganimation/cases.npz") as arrays:
        for name, picture in (("pic_first", (values + 1) / 2), ("pic_mask", mask)):
            assert (to_bytes(torch.from_numpy(picture), 254)[0].numpy() == arrays[name]).all()


def test_maps_and_the_grid_of_all_units_are_separate_clips(tmp_path):
    clips = clips_of(tmp_path, "--sweep=AU12=0:5:4", "--maps", "--au_grid", "--au_levels=2,4")
    assert list(clips) == ["me_au_grid", "me", "me_attention", "me_color"]
    grid = clips["me_au_grid"]
    assert grid.length == 34 and grid.sheet["captions"][:3] == ["AU01=2", "AU01=4", "AU02=2"]
    assert {VIEWS[item["view"]] for item in clips["me_attention"].driving} == {"attention"}
    assert list(clips_of(tmp_path, "--au_grid")) == ["me_au_grid"]


def test_a_table_of_a_video_drives_with_its_rate_and_gaps_are_bridged(tmp_path):
    rows = [{"AU12_r": 1}, {"success": 0}, {"AU12_r": 3}, {"AU12_r": 3, "confidence": 0.2}]
    path = write_table(tmp_path / "film.csv", rows, SEQUENCE)
    clip = clips_of(tmp_path, f"--driving_aus={path}", "--intensity=1.5")["me"]
    assert clip.fps == 25
    assert [round(5 * float(item["aus"][8]), 3) for item in clip.driving] == [1.5, 3.0, 4.5, 4.5]


def test_the_expression_of_another_picture_is_transferred(tmp_path):
    path = write_table(tmp_path / "a.csv", [{"AU26_r": 4}])
    frames = list(clips_of(tmp_path, f"--driving_aus={path}", "--interpolate=3", "--easing=linear")["me"].driving)
    assert [round(5 * float(item["aus"][15]), 3) for item in frames] == [0, 2, 4]


def test_a_video_in_which_no_face_was_seen_cannot_drive(tmp_path):
    path = write_table(tmp_path / "a.csv", [{"success": 0}, {"confidence": 0.1}], SEQUENCE)
    with pytest.raises(UserError, match=r"no frame with a face of confidence 0\.75"):
        read_driving(settings_of(ExpressionSettings, options(f"--driving_aus={path}")), UNITS)


def test_all_faces_or_the_largest(tmp_path):
    boxes = ((10, 10, 40, 40), (60, 30, 120, 90))
    one = clips_of(tmp_path, boxes=boxes)["me"]
    assert one.source["image"].shape[0] == 1
    assert one.finish.crops[0].box().tolist() == square(np.array([60, 30, 120, 90.0])).round().tolist()
    clips = clips_of(tmp_path, "--all_faces", boxes=boxes)
    assert clips["me"].source["image"].shape == (2, 3, 64, 64)
    assert [item["face"] for item in clips["me"].driving] == [0, 1]
    assert list(clips) == ["me", "me.jpg_out", "me.jpg_out_2"]


def test_a_face_is_chosen_by_its_number_from_the_left(tmp_path):
    boxes = ((70, 30, 130, 90), (10, 10, 40, 40))
    for words, expected in (("--face=1", boxes[1]), ("--face=2", boxes[0]), ("--face=left", boxes[1])):
        clip = clips_of(tmp_path, words, boxes=boxes)["me"]
        assert clip.finish.crops[0].box().tolist() == square(np.array(expected, float)).round().tolist()
    assert clips_of(tmp_path, "--face=all", boxes=boxes)["me"].source["image"].shape[0] == 2
    with pytest.raises(UserError, match=r"--face 3: .*me.jpg shows 2 face"):
        clips_of(tmp_path, "--face=3", boxes=boxes)


def test_a_picture_without_a_face_is_taken_whole(tmp_path):
    with pytest.warns(UserWarning, match="no face found"):
        clip = clips_of(tmp_path, boxes=())["me"]
    assert clip.finish.crops[0].box().tolist() == [0, 0, 160, 120]


def test_a_damaged_picture_in_a_folder_does_not_stop_the_others(tmp_path):
    folder = tmp_path / "pictures"
    for index in range(2):
        write_image(folder / f"{index}.png", picture(index))
    (folder / "0.png").write_bytes(b"nothing")
    opt = options(f"--input_path={folder}", "--no_panel")
    with pytest.warns(UserWarning, match="skipped: .*0.png"):
        assert [clip.name for clip in find_dataset("aus")(opt, training=False).clips()] == ["1"]


def test_cut_faces_are_not_searched(tmp_path):
    finder = FaceFinder(64, {}, face_crop="square")
    assert finder.crops(picture(), tmp_path)[0].box().tolist() == [0, 0, 64, 64]
    assert "detector" not in vars(finder)


def test_pasting_leaves_the_rest_of_the_picture_unchanged():
    whole = picture(0, (120, 160))
    crops = [Crop(np.array([[20, 30, 60, 70.0]]), (120, 160)), Crop(np.array([[80, 40, 140, 100.0]]), (120, 160))]
    finish = FacePaster(whole, crops)
    for _ in range(2):
        assert finish(np.zeros((64, 64, 3), np.uint8)) is None
        made = finish(np.full((64, 64, 3), 255, np.uint8))
        outside = np.ones((120, 160), bool)
        outside[30:70, 20:60] = outside[40:100, 80:140] = False
        assert np.array_equal(made[outside], whole[outside])
        assert made[50, 40].tolist() == [0, 0, 0] and made[70, 110].tolist() == [255, 255, 255]


def test_an_unchanged_face_leaves_the_picture_unchanged():
    whole = picture(0, (120, 160))
    crop = Crop(np.array([[20, 30, 84, 94.0]]), (120, 160))
    assert np.array_equal(FacePaster(whole, [crop])(crop.apply(whole)), whole)


@pytest.mark.parametrize("place", ["nothing.jpg", "empty", "notes.txt"])
def test_inputs_that_are_not_pictures_are_named(tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    opt = options(f"--input_path={tmp_path / place}")
    with pytest.raises(UserError, match=f"--input_path .*{place}"):
        list(find_dataset("aus")(opt, training=False).clips())


# --- py-feat ----------------------------------------------------------------------------------------------------------


class Feat:
    """Stands in for py-feat's detector: its columns, a row a face, rows of no numbers where there is none."""

    def __init__(self, faces: list[dict]):
        self.faces = faces

    def detect(self, inputs, data_type, progress_bar):
        assert data_type == "tensor" and inputs.shape[1] == 3 and float(inputs.max()) > 1
        present = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43]
        columns = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
        columns += [f"AU{number:02d}" for number in present] + ["happiness", "input", "frame"]
        nothing = dict.fromkeys(columns, np.nan) | {"FaceScore": 0.0}
        return {name: np.array([face.get(name, np.nan) for face in self.faces or [nothing]]) for name in columns}


def feat_face(side: float, **units: float) -> dict:
    zeros = {unit.column: 0.0 for unit in UNITS}
    return zeros | {"AU43": 0.0, "FaceRectWidth": side, "FaceRectHeight": side, "FaceScore": 0.99} | units


def test_pyfeat_gives_the_units_of_the_largest_face_on_our_scale():
    reader = UnitReader(detector=Feat([feat_face(10, AU12=0.1), feat_face(40, AU12=0.6, AU43=1.0)]))
    assert describe(reader.read(picture())) == "AU12 3.0, AU45 5.0"


def test_pictures_without_a_face_are_skipped(tmp_path):
    write_image(tmp_path / "a.png", picture())
    collected = collect_pictures([tmp_path / "a.png"], UnitReader(detector=Feat([])))
    assert not collected.annotations and "finds no face" in collected.left_out[0][1]


def test_missing_pyfeat_is_reported_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(UserError, match="pip install py-feat"):
        UnitReader()


# --- the commands -----------------------------------------------------------------------------------------------------


def run(folder: Path, script: str, *words: object) -> str:
    command = [sys.executable, str(ROOT / script), *map(str, words), "--gpu_id=-1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_users_commands_train_and_animate(tmp_path):
    write_dataset(tmp_path / "dataset/sample_aus", 27)
    small = ["--ngf=4", "--ndf=2", "--num_blocks=1", "--image_size=64", "--visdom=no", "--steps=2", "--nThreads=0"]
    train = ["--data_dir", "dataset/sample_aus", "--name", "experiment_1", "--batch_size", "25"]
    run(tmp_path, "train.py", *train, *small)
    write_image(tmp_path / "img.jpg", picture(1, (70, 90)))
    run(tmp_path, "test.py", "--input_path", "img.jpg", "--whole_picture")
    assert read_image(tmp_path / "output/img.jpg_out.png").shape == (64, 7 * 64, 3)
    assert read_image(tmp_path / "output/img.png").shape == (70, 90, 3)


def test_timestamps_without_a_rate_are_refused(tmp_path):
    rows = [{"frame": 1, "timestamp": 0}, {"frame": 2, "timestamp": 1e300}]
    with pytest.raises(UserError, match="its timestamps give 1e-300 frames per second; set --fps"):
        read_table(write_table(tmp_path / "a.csv", rows, SEQUENCE)).fps()
