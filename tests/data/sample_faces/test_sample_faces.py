"""The drawn people: geometry, expressions, truth, motion, sound, and their dataset."""

import ast
import csv
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from script_runner import ScriptRunner

from data.sample_faces import AU_NAMES, Truth, check, layouts, perform, perform_micro, person, render, state, tiny_clip
from data.sample_faces.expression import au_vector
from data.sample_faces.person import PIVOT, Person, rotation_matrix
from data.sample_faces.raster import Mesh, grid_triangles, rasterise
from data.sample_faces.voice import LOUDEST, SAMPLE_RATE, synthesise
from data.video.images import read_image
from util.errors import UserError

SCRIPT = ROOT / "script" / "make_sample_dataset.py"


def plain_mesh(triangles, vertices: int, alpha=None) -> Mesh:
    triangles = np.asarray(triangles)
    coordinates = np.stack([np.arange(vertices) % 2, np.arange(vertices) // 2], 1).astype(np.float32)
    some = np.zeros(len(triangles), bool)
    return Mesh(triangles, coordinates, ~some, some | (alpha is not None), alpha)


def test_rasteriser_covers_what_half_planes_cover():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(-5, 45, (3, 2))
        screen = np.concatenate([corners, np.zeros((3, 1))], 1)
        found = np.zeros((40, 40), bool)
        found.ravel()[rasterise(screen, plain_mesh([[0, 1, 2]], 3), 40, 40).index] = True
        y, x = np.mgrid[0:40, 0:40] + 0.5
        sides = []
        for a, b in ((0, 1), (1, 2), (2, 0)):
            (ax, ay), (bx, by) = corners[a], corners[b]
            sides.append(((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / np.hypot(bx - ax, by - ay))
        inside, outside = np.min(sides, 0) > 0.01, np.max(sides, 0) < -0.01
        assert found[inside | outside].all()
        assert not found[(np.min(sides, 0) < -0.01) & (np.max(sides, 0) > 0.01)].any()


def test_rasteriser_keeps_the_nearest_surface_and_interpolates():
    near = [[0, 0, 5.0], [20, 0, 5.0], [0, 20, 5.0], [20, 20, 5.0]]
    far = [[5, 5, 0.0], [30, 5, 0.0], [5, 30, 20.0], [30, 30, 20.0]]
    cells = grid_triangles(2, 2)
    found = rasterise(np.array(near + far), plain_mesh(np.concatenate([cells, cells + 4]), 8), 32, 32)
    depth = np.full((32, 32), np.nan)
    depth.ravel()[found.index] = found.depth
    assert abs(depth[2, 2] - 5) < 0.02 and abs(depth[6, 10] - 5) < 0.02  # the slope begins behind
    y = 16.5
    assert abs(depth[16, 10] - max(5.0, 20 * (y - 5) / 25)) < 0.05  # and comes out in front
    column = np.full((32, 32), np.nan)
    column.ravel()[found.index] = found.column
    assert abs(column[2, 9] - 9.5 / 20) < 1e-3


def test_rasteriser_asks_the_alpha_image():
    screen = np.array([[0, 0, 0.0], [10, 0, 0], [0, 10, 0], [10, 10, 0]])
    alpha = np.array([[1, -1], [1, -1]], np.float32)
    found = rasterise(screen, plain_mesh(grid_triangles(2, 2), 4, alpha), 10, 10)
    assert set(found.index % 10) == {0, 1, 2, 3, 4}


def test_faces_are_symmetric_and_turn_with_parallax():
    pair = [(36, 45), (39, 42), (48, 54), (31, 35), (17, 26), (0, 16), (4, 12)]
    front = render(2, size=128)
    middle = (128 - 1) / 2
    for left, right in pair:
        mirrored = [2 * middle - front.points[left, 0], front.points[left, 1]]
        np.testing.assert_allclose(mirrored, front.points[right, :2], atol=0.05)
    assert abs(front.points[30, 0] - middle) < 0.05
    turned = render(2, rotation=(25, 0, 0), size=128)
    shift = turned.points[:, 0] - front.points[:, 0]
    assert shift[30] > shift[27] > shift[2] and shift[30] > 8  # the tip of the nose travels farthest
    assert render(2, rotation=(0, 15, 0), size=128).points[30, 1] > front.points[30, 1] + 4
    eyes = render(2, rotation=(0, 0, 15), size=128).points[[36, 45], 1]
    assert eyes[1] > eyes[0] + 5  # clockwise: the right of the picture sinks
    assert not turned.visible[:8].all() or not turned.visible[9:17].all()
    assert front.visible[17:].all()


def test_rotation_keeps_lengths_and_the_pivot():
    matrix = rotation_matrix(20, -10, 30)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    subject = person(0, 2)
    still, turned = subject.pose(state())[0], subject.pose(state(rotation=(20, -10, 30)))[0]
    head = subject.follows == 1
    np.testing.assert_allclose(
        np.linalg.norm(turned[head] - PIVOT, axis=1), np.linalg.norm(still[head] - PIVOT, axis=1), rtol=1e-9
    )
    np.testing.assert_array_equal(still[subject.follows == 0], turned[subject.follows == 0])


def mean_height(points: np.ndarray, *numbers: int) -> float:
    return float(points[list(numbers), 1].mean())


@pytest.mark.parametrize(
    ("unit", "measure", "sign"),
    [
        ("AU01", lambda p: mean_height(p, 21, 22), -1),
        ("AU02", lambda p: mean_height(p, 17, 18, 25, 26), -1),
        ("AU04", lambda p: mean_height(p, 21, 22), 1),
        ("AU05", lambda p: mean_height(p, 37, 38, 43, 44), -1),
        ("AU06", lambda p: mean_height(p, 40, 41, 46, 47), -1),
        ("AU07", lambda p: mean_height(p, 40, 41) - mean_height(p, 37, 38), -1),
        ("AU09", lambda p: mean_height(p, 31, 35), -1),
        ("AU10", lambda p: mean_height(p, 50, 52), -1),
        ("AU12", lambda p: mean_height(p, 48, 54), -1),
        ("AU14", lambda p: p[54, 0] - p[48, 0], 1),
        ("AU15", lambda p: mean_height(p, 48, 54), 1),
        ("AU17", lambda p: mean_height(p, 57), -1),
        ("AU20", lambda p: p[54, 0] - p[48, 0], 1),
        ("AU23", lambda p: mean_height(p, 57) - mean_height(p, 51), -1),
        ("AU25", lambda p: mean_height(p, 66) - mean_height(p, 62), 1),
        ("AU26", lambda p: mean_height(p, 8), 1),
        ("AU45", lambda p: mean_height(p, 40, 41) - mean_height(p, 37, 38), -1),
    ],
)
def test_a_unit_moves_its_points_more_the_stronger_it_is(unit, measure, sign):
    levels = [sign * measure(render(1, {unit: level}, size=128).points) for level in (0, 2.5, 5)]
    assert levels[1] > levels[0] + 0.15 and levels[2] > levels[1] + 0.15


def test_units_change_their_region_and_nothing_else():
    result = check.units_local(person(0, 1))
    assert result.passed, result.measured


def test_lids_close_and_lips_touch_at_rest():
    closed = render(0, {"AU45": 5}, size=128).points
    assert np.abs(closed[[37, 38], 1] - closed[[41, 40], 1]).max() < 0.2
    rest = render(0, size=128).points
    assert rest[41, 1] - rest[37, 1] > 2
    assert np.abs(rest[[61, 62, 63], 1] - rest[[67, 66, 65], 1]).max() < 0.1


def test_the_mask_covers_the_face():
    picture = render(3, size=128)
    inside = np.rint(picture.landmarks[17:]).astype(int)
    assert picture.mask[inside[:, 1], inside[:, 0]].mean() > 0.95
    assert not picture.mask[:8].any() and not picture.mask[:, :8].any() and not picture.mask[-16:].any()
    left, top, right, bottom = picture.box
    assert left < picture.landmarks[:, 0].min() + 0.5 and bottom > picture.landmarks[8, 1] - 0.5
    assert top < bottom and left < right


def test_gaze_moves_the_iris():
    def darkest(gaze):
        picture = render(0, gaze=gaze, size=256)
        eye = picture.landmarks[36:42]
        left, top = np.floor(eye.min(0)).astype(int)
        right, bottom = np.ceil(eye.max(0)).astype(int)
        darkness = 255.0 - picture.image[top : bottom + 1, left + 3 : right - 2].mean(-1)
        weight = np.clip(darkness - np.percentile(darkness, 80), 0, None).sum(0)
        return (weight * np.arange(len(weight))).sum() / weight.sum()

    assert darkest((15, 0)) > darkest((0, 0)) + 1 > darkest((-15, 0)) + 2


def test_motion_agrees_with_the_points_and_carries_the_picture():
    subject = person(0, 5)
    first, second = state({"AU12": 1}), state({"AU12": 3, "AU26": 2}, rotation=(10, 3, 2), translation=(3, 2, 0))
    one, two = subject.draw(first, 128), subject.draw(second, 128)
    flow, seen = subject.motion(first, second, 128)
    for k in (30, 33, 36, 39, 42, 45, 48, 54, 21, 22):
        if one.visible[k] and two.visible[k]:
            x, y = np.rint(one.points[k, :2]).astype(int)
            np.testing.assert_allclose(flow[y, x], two.points[k, :2] - one.points[k, :2], atol=0.75)
    still, everything = subject.motion(first, first, 128)
    assert np.abs(still).max() < 0.02 and everything.mean() > 0.97
    y, x = np.mgrid[0:128, 0:128]
    tx, ty = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    ok = one.mask & seen & (tx >= 0) & (tx < 128) & (ty >= 0) & (ty < 128)
    carried = two.image[ty.clip(0, 127), tx.clip(0, 127)].astype(float)
    error = np.abs(carried - one.image)[ok].mean()
    assert error < 0.5 * np.abs(two.image.astype(float) - one.image)[ok].mean()


def test_performances_are_smooth_and_alive():
    rng = np.random.default_rng(3)
    for kind in range(4):
        clip = perform(rng, 100, 25, kind)
        assert clip.aus.min() >= 0 and clip.aus.max() <= 5
        assert np.abs(np.diff(clip.rotation, axis=0)).max() < 9  # degrees a frame: fast, but no jump
        assert np.abs(np.diff(clip.translation, axis=0)).max() < 3
        assert clip.aus[:, AU_NAMES.index("AU45")].max() > 3
        assert clip.aus[:, AU_NAMES.index("AU25")].std() > 0.5
    wide = perform(np.random.default_rng(0), 100, 25, 3)
    assert np.ptp(wide.rotation[:, 0]) > 12


def test_micro_expressions_are_weak_and_know_their_times():
    clip, (onset, apex, offset) = perform_micro(np.random.default_rng(0), 40, "surprise")
    level = clip.aus.sum(1)
    assert 0 < onset < apex < offset < 40
    assert clip.aus.max() < 1.5 and level.argmax() == apex
    assert level[: onset + 1].max() == 0 and level[offset:].max() == 0


def test_sound_is_quiet_and_in_step_with_the_mouth():
    rng = np.random.default_rng(5)
    clip = perform(rng, 100, 25, 0)
    sound = synthesise(clip.voice, 4.0, rng)
    assert len(sound) == 4 * SAMPLE_RATE and 0.02 < np.abs(sound).max() <= LOUDEST
    loud = np.sqrt((sound.reshape(100, -1) ** 2).mean(1))
    opening = clip.aus[:, AU_NAMES.index("AU25")]
    assert np.corrcoef(loud, opening)[0, 1] > 0.4


def test_same_seed_same_pictures_and_other_seeds_others():
    frames, truth = tiny_clip(identity=1, frames=3, size=64)
    again, _ = tiny_clip(identity=1, frames=3, size=64)
    np.testing.assert_array_equal(frames, again)
    rebuilt = Person(person(0, 1).identity).draw(truth.performance.state(0), 64)
    np.testing.assert_array_equal(rebuilt.image, frames[0])
    others, _ = tiny_clip(identity=1, frames=1, size=64, seed=8)
    assert np.abs(others[0].astype(int) - frames[0]).mean() > 3


def test_truth_survives_the_disk(tmp_path):
    _, truth = tiny_clip(frames=3, size=64)
    truth.save(tmp_path / "clip.npz")
    read = Truth.load(tmp_path / "clip.npz")
    for name in ("landmarks", "visible", "points", "box", "mask"):
        np.testing.assert_array_equal(getattr(read, name), getattr(truth, name))
    np.testing.assert_array_equal(read.performance.aus, truth.performance.aus)
    flow, _ = read.motion(0, 2)
    assert flow.shape == (64, 64, 2)


def test_units_are_named_or_refused():
    assert au_vector({"AU12": 2})[AU_NAMES.index("AU12")] == 2
    with pytest.raises(ValueError, match="AU99"):
        au_vector({"AU99": 1})
    with pytest.raises(ValueError, match="17"):
        au_vector([1, 2, 3])


def arguments(out: Path, *more: str) -> list[str]:
    small = ["--identities", "2", "--clips", "2", "--frames", "6", "--size", "64"]
    return [str(SCRIPT), "--out", str(out), *small, *more]


def run_here(out: Path, *more: str) -> int:
    """Run the script in this process, which spares the start of another."""
    script = runpy.run_path(str(SCRIPT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments(out, "--workers", "0", *more))
        return script["main"]()


@pytest.fixture(scope="module")
def small_set(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "one"
    assert run_here(out) == 0
    return out


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_layout_exists_and_splits_are_disjoint(small_set):
    for split, person_id in (("train", "id000"), ("test", "id001")):
        assert {path.name.split("#")[0] for path in (small_set / split).glob("*.mp4")} == {person_id}
        videos = sorted(path.name for path in (small_set / f"{split}_data").iterdir())
        assert videos == sorted(path.name for path in (small_set / f"{split}_keypoints").iterdir()) and len(videos) == 2
        for video in videos:
            assert len(list((small_set / f"{split}_data" / video).glob("*.jpg"))) == 6
            points = np.loadtxt(small_set / f"{split}_keypoints" / video / "00000.txt", delimiter=",")
            assert points.shape == (68, 2)
        ids = (small_set / "aus" / f"{split}_ids.csv").read_text().split()
        assert ids and all((small_set / "aus" / "imgs" / name).is_file() for name in ids)
        metadata = next((small_set / "talking_head" / split).glob("*/*/metadata.npz"))
        with np.load(metadata) as file:
            assert file["landmarks"].shape == (len(file["names"]), 68, 2)
            assert all((metadata.parent / name).is_file() for name in file["names"])


def test_short_clips_show_the_face_where_it_begins(tmp_path):
    frames, truth = tiny_clip(identity=0, frames=layouts.SHORT + 3, size=96)
    shift = np.arange(len(frames))[:, None, None] * (0.5, 0.25, 0)
    still = np.stack([np.roll(frames[0], (k // 4, k // 2), axis=(0, 1)) for k in range(len(frames))])
    truth.points[:] = truth.points[:1] + shift
    layouts.short_clips(tmp_path, "train", "id000#00", still, truth)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["id000#00_000"]
    pictures = [read_image(path) for path in sorted((tmp_path / "train" / "id000#00_000").iterdir())]
    assert len(pictures) == layouts.SHORT and pictures[0].shape == (layouts.SHORT_SIZE, layouts.SHORT_SIZE, 3)
    inside = np.s_[20:-20, 20:-20]
    for index in (4, 8, 16):
        moved = np.abs(pictures[index][inside].astype(int) - pictures[0][inside]).mean()
        assert moved < 1, "a head that only shifts rests in its square"


def test_a_similarity_maps_rigid_points():
    here = np.random.default_rng(0).uniform(0, 99, (68, 3))
    turn = 1.3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    there = here.copy()
    there[:, :2] = here[:, :2] @ turn.T + (5, -7)
    np.testing.assert_allclose(layouts.similarity(here, there), np.column_stack([turn, (5, -7)]), atol=1e-9)


def test_unit_files_agree(small_set):
    with np.load(small_set / "aus" / "aus.npz") as file:
        units = dict(zip(file["names"].tolist(), file["aus"], strict=True))
    name, values = next(iter(units.items()))
    with (small_set / "aus" / "openface" / f"{name}.csv").open() as file:
        row = next(csv.DictReader(file, skipinitialspace=True))
    assert [float(row[f"{unit}_r"]) for unit in AU_NAMES] == pytest.approx(values.tolist())
    assert values.shape == (17,) and (small_set / "aus" / "aus_openface.pkl").stat().st_size > 100


def test_micro_expressions_are_listed(small_set):
    with (small_set / "micro" / "coding.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        assert int(row["OnsetFrame"]) < int(row["ApexFrame"]) < int(row["OffsetFrame"])
        truth = Truth.load(small_set / "micro" / "truth" / f"{row['Filename']}.npz")
        assert 0 < truth.performance.aus.max() < 1.5
        assert truth.performance.aus.sum(1).argmax() == int(row["ApexFrame"])


@pytest.mark.slow
def test_other_workers_give_the_same_bytes_and_a_killed_run_resumes(small_set, tmp_path, capsys):
    command = [sys.executable, *arguments(tmp_path / "two", "--workers", "2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = files(small_set), files(tmp_path / "two")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name] and name != "README.txt"] == []
    (tmp_path / "two" / "truth" / "id001#00.npz").unlink()
    (tmp_path / "two" / "test" / "id001#00.mp4").write_bytes(b"half")
    assert run_here(tmp_path / "two") == 0
    assert "1 of 8 made, 7 done before" in capsys.readouterr().out
    assert files(tmp_path / "two")["test/id001#00.mp4"] == one["test/id001#00.mp4"]


@pytest.mark.slow
def test_files_of_a_killed_run_are_removed_by_the_next(tmp_path):
    few = ["--identities", "1", "--clips", "1", "--frames", "2", "--size", "32", "--layouts", "--workers", "0"]
    with ScriptRunner() as scripts:
        for moment in (3, 5):  # just before the film and the truth get their names
            assert scripts.run("make_sample_dataset", "--out", "set", *few, folder=tmp_path, kill_at=moment)[0] == -9
            assert [path for path in tmp_path.rglob("*") if path.name.endswith(".part")], "killed while it wrote"
        status, output = scripts.run("make_sample_dataset", "--out", "set", *few, folder=tmp_path)
    assert status == 0, output
    assert files(tmp_path / "set").keys() == {"sample.json", "README.txt", "train/id000#00.mp4", "truth/id000#00.npz"}
    assert not list(tmp_path.rglob(".*"))


def test_settings_are_not_mixed(small_set):
    with pytest.raises(UserError, match="other settings"):
        run_here(small_set, "--seed", "1")


def test_films_have_sound_and_all_frames(small_set):
    from data.video import open_video

    with open_video(small_set / "train" / "id000#00.mp4") as video:
        assert len(video) == 6 and video.size == (64, 64) and video.has_audio and video.fps == 25
        first = video[0].astype(int)
    subject = Truth.load(small_set / "truth" / "id000#00.npz")
    drawn = person(subject.seed, subject.identity).draw(subject.performance.state(0), 64).image
    assert np.abs(first - drawn).mean() < 6


@pytest.mark.slow
def test_a_detector_finds_the_faces_where_they_are():
    pytest.importorskip("dlib")
    try:
        models, seen, bars = check.dlib_models(), [], check.BARS["plain"]
    except UserError as error:
        pytest.skip(str(error))
    for identity in range(4):
        for kind in (0, 1):
            clip = perform(np.random.default_rng([7, identity, kind]), 30, 25, kind)
            for k in (0, 15):
                picture = person(0, identity).draw(clip.state(k), 256)
                if abs(clip.rotation[k, 0]) < check.MAX_YAW:
                    number = 2 * identity + kind
                    seen.append(check.observe(picture.image, picture.landmarks, models, identity, number, True))
    for result in [*check.check_detection(seen, bars), check.check_identities(seen, bars)]:
        assert result.passed, f"{result.title}: {result.measured}"


def test_the_renderer_needs_numpy_and_opencv_only():
    allowed = {"numpy", "cv2", "data", "util", "av", "dlib", "tqdm"} | set(sys.stdlib_module_names)
    for path in sorted((ROOT / "data" / "sample_faces").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path
            if isinstance(node, ast.ImportFrom) and node.module.startswith("data."):
                assert node.module.startswith(("data.sample_faces", "data.video", "data.video.container")), path
