"""Structure maps and the dataset mode `face`: drawing, edges, caching, pairing, clips, retargeting."""

import itertools
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.face import FaceDataset
from data.faces.detector import Detector
from data.faces.file_detector import face_of
from data.faces.retarget import Retarget, similarity
from data.jobs.pairs import RequestedClips
from data.loading.bad_samples import BadSamples
from data.loading.sampler import EndlessSampler, endless_batches
from data.structure.edge_cache import EdgeCache, cache_file
from data.structure.edges import canny
from data.structure.maps import CURVES, distance_maps, structure_maps
from data.structure.outputs import FaceOutputs
from data.structure.sequences import choose_frames, clip_length, read_points
from data.video import VideoWriter, open_video
from data.video.images import read_image, write_image
from options import parse
from options.pairs import pair_settings, requests
from util.errors import UserError

SIDE = 64
SIZE = (96, 112)


def face_points(shift: float = 0.0, opening: float = 4.0) -> np.ndarray:
    """68 points of a plain frontal face in a picture of SIZE; `opening` is the mouth's."""
    turn = np.linspace(0, np.pi, 17)
    jaw = np.stack([56 - 34 * np.cos(turn), 40 + 44 * np.sin(turn)], 1)
    brows = [np.stack([x + np.linspace(0, 18, 5), 32 - 3 * np.sin(np.linspace(0, np.pi, 5))], 1) for x in (28, 66)]
    nose = [(56, 38), (56, 44), (56, 50), (56, 56), (50, 58), (53, 60), (56, 61), (59, 60), (62, 58)]
    eye = np.array([(0, 0), (3, -3), (9, -3), (12, 0), (9, 2), (3, 2)])
    turn = np.linspace(np.pi, -np.pi, 13)[:12]
    lips = np.stack([56 + 14 * np.cos(turn), 70 - (3 + opening) * np.sin(turn)], 1)
    turn = np.linspace(np.pi, -np.pi, 9)[:8]
    inner = np.stack([56 + 9 * np.cos(turn), 70 - opening * np.sin(turn)], 1)
    parts = [jaw, *brows, nose, eye + (30, 41), eye + (70, 41), lips, inner]
    return np.concatenate(parts) + (shift, 0)


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.RandomState(seed).randint(0, 256, (*SIZE, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training sequences of 8 frames, and a test sequence of 5."""
    for phase, name, count in (("train", "a", 8), ("train", "b", 8), ("test", "c", 5)):
        for number in range(count):
            write_image(tmp_path / f"{phase}_data" / name / f"{number:05d}.png", picture(number))
            write_points(tmp_path / f"{phase}_keypoints" / name / f"{number:05d}.txt", face_points(number))
    return tmp_path


def write_points(path: Path, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{x},{y}\n" for x, y in points.astype(int)))


def dataset(root: Path, *words: str, training: bool = True) -> FaceDataset:
    settings = ["--n_frames_total=6", "--max_frames_per_gpu=3"] if training else []
    opt = parse(["--model=face", f"--dataroot={root}", f"--load_size={SIDE}", *settings, *words], training)
    return FaceDataset(opt, training)


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_distances_match_a_brute_force_search():
    draw = np.random.RandomState(0)
    curve = np.sort(draw.randint(0, len(CURVES) - 1, (3, 60))).ravel()
    frame = np.repeat([0, 2, 3], 60)  # nothing is drawn in frames 1 and 4
    rows, columns = draw.randint(10, 50, (2, 180))
    found = np.empty((5, len(CURVES), SIDE, SIDE), np.uint8)
    distance_maps(frame, curve, rows, columns, found)
    y, x = np.mgrid[:SIDE, :SIDE]
    for index, number in itertools.product(range(5), range(len(CURVES))):
        own = (frame == index) & (curve == number)
        if not own.any():
            assert (found[index, number] == 255).all(), "a curve without a pixel is far from everywhere"
            continue
        distances = np.abs(y[..., None] - rows[own]) + np.abs(x[..., None] - columns[own])
        assert (found[index, number] == distances.min(2) // 3).all()
    distance_maps(*np.zeros((4, 0), int), found)
    assert (found == 255).all()


def test_frames_are_drawn_alike_alone_and_together():
    points = np.stack([face_points(shift) for shift in (0, 3, 7)])
    together = structure_maps(points, SIZE, SIDE)
    for index, own in enumerate(points):
        assert (structure_maps(own[None], SIZE, SIDE)[0] == together[index]).all()


def test_channels_follow_from_the_switches():
    points = face_points()[None]
    whole, bare = structure_maps(points, SIZE, SIDE), structure_maps(points, SIZE, SIDE, distances=False)
    assert whole.shape == (1, 16, SIDE, SIDE) and bare.shape == (1, 2, SIDE, SIDE)
    assert (whole[:, [0, 15]] == bare).all()
    assert set(np.unique(whole[:, 0])) == {0, 255} and set(np.unique(whole[:, 15])) == set(range(7))


def test_points_outside_of_the_picture_are_drawn_on_its_rim():
    maps = structure_maps(face_points(shift=40)[None], SIZE, SIDE)
    assert maps[0, 0, :, -1].any()


def test_background_edges_are_outside_the_face():
    everywhere = np.ones((SIDE, SIDE), bool)
    maps = structure_maps(face_points()[None], SIZE, SIDE, [everywhere])[0]
    curves = structure_maps(face_points()[None], SIZE, SIDE)[0, 0] > 0
    assert (maps[0][(maps[15] > 0) & ~curves] == 0).all()
    assert (maps[0][(maps[15] == 0) & ~curves] == 255).all()
    assert (maps[0][(maps[15] == 0) & curves] == 254).all()


def test_edges_are_those_of_scikit_image():
    from skimage.feature import canny as expected

    different = total = 0
    for seed in range(8):
        grey = cv2.cvtColor(picture(seed), cv2.COLOR_RGB2GRAY)
        different += (canny(grey) != expected(grey)).sum()
        total += expected(grey).sum()
    assert total > 1000 and different <= 0.002 * total
    assert not canny(np.full(SIZE, 90, np.uint8)).any()


# --- caching ----------------------------------------------------------------------------------------------------------


def test_edges_are_found_once_and_again_when_their_picture_changes(tmp_path):
    made, file = [], tmp_path / "a.png"

    def make() -> np.ndarray:
        made.append(np.random.rand(SIDE, SIDE) > 0.9)
        return made[-1]

    write_image(file, picture(0))
    for _ in range(3):
        edges = EdgeCache(tmp_path / "cache" / "a.edges", 4, SIDE).edges(2, file, make)
        assert len(made) == 1 and (edges == made[0]).all()
    write_image(file, picture(1))
    EdgeCache(tmp_path / "cache" / "a.edges", 4, SIDE).edges(2, file, make)
    assert len(made) == 2


def test_a_damaged_row_is_recomputed(tmp_path):
    path, file = tmp_path / "a.edges", tmp_path / "a.png"
    write_image(file, picture(0))
    edges = EdgeCache(path, 1, SIDE).edges(0, file, lambda: np.eye(SIDE, dtype=bool))
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    assert (EdgeCache(path, 1, SIDE).edges(0, file, lambda: np.eye(SIDE, dtype=bool)) == edges).all()


def test_a_cached_sample_is_the_sample(root):
    data = dataset(root)
    cold, warm = (data.load(data.sequences[0], range(6))[1] for _ in range(2))
    without = dataset(root, "--structure_cache=none").load(data.sequences[0], range(6))[1]
    assert (cold == warm).all() and (cold == without).all()
    assert len(list((root / ".structure_cache" / "train").glob(f"a-{SIDE}-*.edges"))) == 1


def test_changed_points_are_drawn_though_edges_are_cached(root):
    data = dataset(root)
    before = data.load(data.sequences[0], [0])[1]
    write_points(root / "train_keypoints" / "a" / "00000.txt", face_points(5))
    assert (data.load(data.sequences[0], [0])[1] != before).any()


def test_a_cache_that_cannot_be_written_is_explained(root):
    (root / "file").write_text("")
    with pytest.raises(UserError, match="--structure_cache to another folder"):
        dataset(root, f"--structure_cache={root / 'file'}")[0]


# --- sequences and clips ----------------------------------------------------------------------------------------------


def test_a_training_item(root):
    item = dataset(root)[0]
    assert item["frames"].shape == (6, 3, SIDE, SIDE) and item["frames"].dtype == torch.float32
    assert item["frames"].min() >= 0 and item["frames"].max() <= 1
    assert item["structures"].shape == (6, 16, SIDE, SIDE) and item["structures"].dtype == torch.uint8
    assert len(dataset(root)) == 2 and len(dataset(root, "--max_dataset_size=1")) == 1


@pytest.mark.parametrize(("words", "channels"), [(["--no_canny_edge"], 16), (["--no_dist_map"], 2)])
def test_switches_of_the_structure(root, words, channels):
    structures = dataset(root, *words)[0]["structures"]
    assert structures.shape[1] == channels
    background = (structures[:, 0] > 0) & (structures[:, -1] == 0)
    assert background.float().mean() < 0.1 if "--no_canny_edge" in words else background.float().mean() > 0.01


def test_folders_of_the_old_spelling(root):
    (root / "train_keypoints").rename(root / "train_keypoint")
    assert len(dataset(root)) == 2


def test_nested_sequences_have_unique_names(root):
    for folder in ("train_data", "train_keypoints"):
        shutil.move(root / folder / "a", root / folder / "person" / "a")
    assert [sequence.name for sequence in dataset(root).sequences] == ["b", "person_a"]


def test_frames_without_a_partner_are_skipped_and_reported(root, caplog):
    (root / "train_keypoints" / "a" / "00003.txt").unlink()
    (root / "train_data" / "b" / "00001.png").unlink()
    write_points(root / "train_keypoints" / "orphan" / "00000.txt", face_points())
    (root / "train_data" / "empty").mkdir()
    for stray in (".ipynb_checkpoints/00000.png", "__MACOSX/a/._00000.png"):
        write_image(root / "train_data" / stray, picture())
    data = dataset(root)
    assert [(one.name, len(one)) for one in data.sequences] == [("a", 7), ("b", 7)]
    told = caplog.text
    for words in ("1 pictures without key points (00003)", "1 key points without a picture (00001)", "obtain_face_kp",
                  "empty: no pictures", "MACOSX/a: no pictures", "orphan: key points without pictures"):  # fmt: skip
        assert words in told
    assert "ipynb" not in told and len(data[0]["frames"]) == 6


def test_nothing_left_is_an_error(root):
    shutil.rmtree(root / "train_keypoints" / "a")
    (root / "train_keypoints" / "b").rename(root / "train_keypoints" / "c")
    with pytest.raises(UserError, match="no frame has both .* 8 pictures without key points .*obtain_face_kp"):
        dataset(root)


def test_portable_pixmaps_are_read(root):
    for phase_folder in (root / "train_data" / "a", root / "train_data" / "b"):
        for path in phase_folder.iterdir():
            Image.open(path).save(path.with_suffix(".ppm"))
            path.unlink()
    assert len(dataset(root)) == 2 and dataset(root)[0]["frames"].shape == (6, 3, SIDE, SIDE)


def test_sequences_of_like_paths_share_neither_name_nor_cache(root):
    for folder in ("train_data", "train_keypoints"):
        shutil.copytree(root / folder / "a", root / folder / "x" / "a")
        shutil.copytree(root / folder / "b", root / folder / "x_a")
    (root / "train_data" / "x_a" / "00007.png").unlink()
    data = dataset(root)
    assert [sequence.name for sequence in data.sequences] == ["a", "b", "x_a", "x_a_2"]
    long, short = data.sequences[2:]
    maps = data.load(long, range(8))[1]
    data.load(short, range(7))
    assert (data.load(long, range(8))[1] == maps).all(), "what is in memory was not cut off"
    assert len(list((root / ".structure_cache" / "train").iterdir())) == 2


def test_a_cache_is_never_cut_off_under_another_process(tmp_path):
    path, file = tmp_path / "a.edges", tmp_path / "a.png"
    write_image(file, picture(0))
    first = EdgeCache(path, 50, SIDE)
    EdgeCache(path, 2, SIDE)
    first.edges(49, file, lambda: np.eye(SIDE, dtype=bool))
    pictures = (tmp_path / "x" / "a", tmp_path / "y" / "a")
    assert len({cache_file(tmp_path, "a", *key) for key in itertools.product(pictures, (2, 50), (64, 128))}) == 8


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "00000.txt: has 67 points"),
        ("1;2", "00000.txt, line 68: '1;2' is not two numbers x,y"),
        ("nan,3", "00000.txt, line 68: nan,3 is not a point of a picture"),
        ("3,nan", "00000.txt, line 68: 3,nan is not a point"),
        ("1e12,3", "00000.txt, line 68: 1e12,3 is not a point"),
    ],
)
def test_damaged_points_are_named(root, line, told):
    path = root / "train_keypoints" / "a" / "00000.txt"
    path.write_text("".join(f"{x}, {y}\n" for x, y in face_points()[:67].astype(int)) + line)
    data = dataset(root)
    with pytest.raises(UserError, match=told):
        data.load(data.sequences[0], [0])


def test_blanks_in_points_do_no_harm(root):
    path = root / "train_keypoints" / "a" / "00000.txt"
    expected = read_points(path)
    path.write_text("".join(f" {x} , {y}\n\n" for x, y in face_points().astype(int)))
    assert (read_points(path) == expected).all()


def test_frames_of_two_sizes_are_named(root):
    write_image(root / "train_data" / "a" / "00001.png", picture()[:50])
    data = dataset(root)
    with pytest.raises(UserError, match="50 x 112 and 96 x 112"):
        data.load(data.sequences[0], range(3))


def shorten(root: Path, name: str, left: int) -> None:
    for number in range(left, 8):
        (root / "train_data" / name / f"{number:05d}.png").unlink()
        (root / "train_keypoints" / name / f"{number:05d}.txt").unlink()


@pytest.mark.parametrize(
    ("left", "told"), [(2, "1 of 2 .* of 6 frames: a \\(2\\)$"), (5, "a \\(5\\); --n_frames_total=3 keeps")]
)
def test_short_sequences_are_skipped_and_counted(root, left, told, caplog):
    shorten(root, "a", left)
    data = dataset(root)
    assert [one.name for one in data.sequences] == ["b"] and re.search(told, caplog.text, re.MULTILINE)


def test_sequences_that_are_all_too_short_are_an_error(root):
    shorten(root, "a", 2)
    shorten(root, "b", 1)
    with pytest.raises(UserError, match="a: the longest sequence has only 2 frames; --frames_D_V 3"):
        dataset(root)


@pytest.mark.parametrize(
    ("word", "training"),
    [
        ("--start_frame=-1", False), ("--total_test_frames=0", False), ("--frames_D_V=1", True),
        ("--max_frames_per_gpu=0", True), ("--n_frames_total=0", True), ("--max_t_step=0", True),
        ("--max_dataset_size=0", True), ("--width=0", True), ("--load_size=100", False),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_while_parsing_options(word, training):
    with pytest.raises(UserError, match=word.partition("=")[0]):
        parse(["--model=face", word], training)


def test_sequences_of_several_lengths_train_one_by_one(root):
    shorten(root, "a", 5)
    assert len(dataset(root, "--batch_size=1")[0]["frames"]) == 3


def test_testing_a_trained_run_takes_the_test_split(root):
    trained = dataset(root).opt
    assert trained.phase is None and dataset(root, training=False).sequences[0].name == "c"


def test_missing_folders_are_named(root, tmp_path):
    shutil.rmtree(root / "train_keypoints")
    with pytest.raises(UserError, match="no train_keypoints"):
        dataset(root)
    with pytest.raises(UserError, match="no val_data"):
        dataset(root, "--phase=val")


def test_a_clip_is_whole_chunks_inside_its_sequence():
    for frames in (5, 6, 13, 40):
        for _ in range(30):
            chosen = choose_frames(frames, 12, 6, 4)
            assert len(chosen) == clip_length(frames, 12, 6) and chosen[-1] < frames and chosen.step <= 4


def test_workers_and_epochs_draw_their_own_clips(root):
    def drawn(workers: int) -> list[np.ndarray]:
        sampler = EndlessSampler(2, 2, start=0, seed=0, rank=0, world=1, parts=1)
        batches = endless_batches(
            dataset(root, "--n_frames_total=3"),
            sampler,
            workers=workers,
            pin_memory=False,
            bad_samples=BadSamples(root / "bad", 2, 0),
        )
        return [next(batches)["frames"].numpy() for _ in range(3)]

    alone, together = drawn(0), drawn(2)
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))
    assert any((one != alone[0]).any() for one in alone[1:])


# --- testing ----------------------------------------------------------------------------------------------------------


def test_a_test_clip_has_all_frames_and_no_more(root):
    (clip,) = dataset(root, training=False).clips()
    items = list(clip.driving)
    assert [item["frame"] for item in items] == [f"{number:05d}" for number in range(5)] and clip.length == 5
    assert (clip.source["structure"] == items[0]["structure"]).all() and (
        clip.source["image"] == items[0]["image"]
    ).all()


def test_first_frame_and_number_of_frames(root):
    (clip,) = dataset(root, "--start_frame=2", "--total_test_frames=2", training=False).clips()
    assert [item["frame"] for item in clip.driving] == ["00002", "00003"]
    with pytest.raises(UserError, match="has only 5 frames"):
        next(dataset(root, "--start_frame=5", training=False).clips())


def test_outputs_have_the_names_that_users_know(root, tmp_path):
    data = dataset(root, training=False)
    (clip,) = data.clips()
    with data.companion(clip, tmp_path / "out" / "c.mp4") as companion:
        assert isinstance(companion, FaceOutputs)
        for item in clip.driving:
            companion.write(item, np.full((SIDE, SIDE, 3), 7, np.uint8))
    names = {path.name for path in (tmp_path / "out" / "c").iterdir()}
    assert names == {f"{number:05d}_{kind}.png" for number in range(5) for kind in ("vis", "edge")}
    with dataset(root, "--output=one.mp4", training=False).companion(clip, tmp_path / "one.mp4") as companion:
        assert companion is None, "who names one output wants that and no more"
    edges = read_image(tmp_path / "out" / "c" / "00000_edge.png")
    assert ((edges[..., 0] == 0) == (clip.source["structure"][0].numpy() > 0)).all()
    with open_video(tmp_path / "out" / "c_edge_vis_.mp4") as video:
        assert len(video) == 5 and video.size == (SIDE, 2 * SIDE) and video.fps == 15


def write_outputs(root: Path, output: Path, *words: str) -> None:
    """As test.py does: the result, and what lies beside it."""
    data = dataset(root, *words, training=False)
    (clip,) = data.clips()
    with VideoWriter(output, clip.fps) as writer, data.companion(clip, output) as companion:
        for item in clip.driving:
            frame = np.random.randint(0, 256, (SIDE, SIDE, 3), np.uint8)
            writer.write(frame)
            companion.write(item, frame)


def test_pictures_of_an_earlier_run_do_not_stay(root, tmp_path):
    write_outputs(root, tmp_path / "out" / "c.mp4")
    write_outputs(root, tmp_path / "out" / "c.mp4", "--total_test_frames=2")
    assert len(list((tmp_path / "out" / "c").iterdir())) == 4
    (tmp_path / "out" / "c" / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not replaced, as it contains other files .mine.txt"):
        write_outputs(root, tmp_path / "out" / "c.mp4")
    assert len(list((tmp_path / "out" / "c").iterdir())) == 5


def test_results_as_pictures_have_their_own_folder(root, tmp_path):
    for _ in range(2):
        write_outputs(root, tmp_path / "out" / "c", "--format=png")
    assert len(list((tmp_path / "out" / "c").glob("00000?.png"))) == 5
    assert len(list((tmp_path / "out" / "c_edge_vis").glob("0000?_vis.png"))) == 5


def test_the_video_beside_a_result_has_its_quality(root, tmp_path):
    sizes = []
    for quality in (10, 90):
        write_outputs(root, tmp_path / f"{quality}" / "c.mp4", f"--quality={quality}")
        sizes.append((tmp_path / f"{quality}" / "c_edge_vis_.mp4").stat().st_size)
    assert sizes[1] > 1.5 * sizes[0]


class Faces(Detector):
    """A detector that knows the faces (68, 2) of the frames it will see, in their pixels; None: no face."""

    can_follow = False
    batch_size = 2

    def __init__(self, points: list[np.ndarray | None]):
        self.points = points

    def detect(self, frames):
        found, self.points = self.points[: len(frames)], self.points[len(frames) :]
        return [[] if one is None else [face_of(one.astype(np.float32))] for one in found]


def write_pair(root: Path, frames: int, size: tuple[int, int] = SIZE) -> list[str]:
    """The words for a source picture and a folder of driving frames, all alike."""
    shutil.rmtree(root / "drive", ignore_errors=True)
    for path in (root / "me.png", *(root / "drive" / f"{number}.png" for number in range(frames))):
        write_image(path, cv2.resize(picture(), size[::-1]))
    return [f"--source_image={root / 'me.png'}", f"--driving_video={root / 'drive'}"]


def outside(root: Path, points: list[np.ndarray | None], *words: str) -> tuple[dict, list[dict]]:
    """A source picture and a driving video of the other frames, as test.py asks for them: source, driving items."""
    data = dataset(root, *write_pair(root, frames=len(points) - 1), *words, training=False)
    requested = RequestedClips(data, pair_settings(data.opt))
    requested.detector = Faces(list(points))
    clip = requested.clip(*requests(data.opt))
    return clip.source, list(clip.driving)


def test_results_are_truncated_like_the_original_s_on_request(root):
    for words, cut_off in ((["--original_levels"], 255), ([], None)):
        assert {clip.cut_off for clip in dataset(root, *words, training=False).clips()} == {cut_off}
        data = dataset(root, *write_pair(root, frames=1), *words, training=False)
        requested = RequestedClips(data, pair_settings(data.opt))
        requested.detector = Faces([face_points(), face_points()])
        assert requested.clip(*requests(data.opt)).cut_off == cut_off


def test_a_foreign_face_takes_the_movement_and_keeps_its_proportions(root):
    other = 0.7 * face_points() + (9, 14)
    wide_open = 0.7 * face_points(opening=9) + (9, 14)
    source, driving = outside(root, [face_points(), other, wide_open])
    assert (driving[0]["structure"][1:] == source["structure"][1:]).float().mean() > 0.98
    own = dataset(root, training=False)._outside(own_pixels(face_points(opening=9)), picture())
    assert (driving[1]["structure"][15] == own[15]).float().mean() > 0.97


def test_proportions_are_compared_in_the_frame_most_like_the_source(root):
    wide_open, like_the_source = face_points(opening=12), face_points()
    source, driving = outside(root, [face_points(), wide_open, like_the_source])
    assert (driving[1]["structure"][15] == source["structure"][15]).all()


def own_pixels(points: np.ndarray) -> np.ndarray:
    return points * SIDE / np.array(SIZE[::-1])


def test_without_retargeting_the_driving_points_are_drawn(root):
    _, driving = outside(root, [face_points(), 0.7 * face_points()], "--retarget=no")
    expected = dataset(root, training=False)._outside(own_pixels(0.7 * face_points()), picture())
    assert (driving[0]["structure"] != expected).sum() < 30


def test_background_edges_of_single_pictures_are_off_by_default(root):
    source, driving = outside(root, [face_points(), face_points()])
    with_edges, _ = outside(root, [face_points(), face_points()], "--background_edges")
    assert (with_edges["structure"][0] > 0).sum() > (source["structure"][0] > 0).sum() + 50
    assert (driving[0]["structure"][0] > 0).sum() < 400


def test_frames_without_a_face_are_filled_by_the_options(root, caplog):
    points = [face_points(), face_points(), None, face_points(16), None]
    _, driving = outside(root, points)
    middle = dataset(root, training=False)._outside(own_pixels(face_points(8)), picture())
    assert (driving[1]["structure"][15] == middle[15]).float().mean() > 0.98, "interpolated"
    assert (
        driving[3]["structure"] == driving[2]["structure"]
    ).all() and "face in 2 of 4 frames, 2 filled" in caplog.text
    _, driving = outside(root, points, "--on_missing=hold")
    assert (driving[1]["structure"] == driving[0]["structure"]).all()
    with pytest.raises(UserError, match="no face in 2 of 4 frames"):
        outside(root, points, "--on_missing=error")
    with pytest.raises(UserError, match="--on_missing skip: results keep every driving frame"):
        outside(root, points, "--on_missing=skip")


def test_pictures_and_videos_without_a_face_are_named(root):
    with pytest.raises(UserError, match="me.png: no face found"):
        outside(root, [None, face_points()])
    with pytest.raises(UserError, match="drive: no face in any of its 2 frames"):
        outside(root, [face_points(), None, None])


def test_landmarks_are_smoothed_on_request(root):
    shaking = [face_points()] + [face_points(shift) for shift in (0, 6, 0, 6)]
    plain, smooth = (outside(root, shaking, *words)[1] for words in ([], ["--smooth=1"]))
    moved = [(items[1]["structure"] != items[0]["structure"]).sum() for items in (plain, smooth)]
    assert moved[1] < 0.7 * moved[0]


@pytest.mark.parametrize("words", [[], ["--crop_image", "--crop_video"]], ids=["whole", "cropped"])
def test_faces_are_detected_in_full_frames(root, words):
    """Not in what the networks see: a high and narrow frame squashed to 64 x 64 shows no detector a face."""
    seen = []

    class Watching(Faces):
        def detect(self, frames):
            seen.extend(frame.shape[:2] for frame in frames)
            return super().detect(frames)

    source, driving = write_pair(root, frames=2, size=(900, 480))
    data = dataset(root, source, driving, *words, training=False)
    requested = RequestedClips(data, pair_settings(data.opt))
    requested.detector = Watching([face_points() * 4 + (20, 300)] * 3)
    clip = requested.clip(*requests(data.opt))
    items = list(clip.driving)
    assert seen == [(900, 480)] * 3
    assert all((item["structure"][15] == clip.source["structure"][15]).float().mean() > 0.99 for item in items)
    if not words:
        expected = data._outside((face_points() * 4 + (20, 300)) * (SIDE / 480, SIDE / 900), picture())
        assert (items[0]["structure"][15] == expected[15]).float().mean() > 0.99
    else:
        assert (items[0]["structure"][15] > 0).float().mean() > 0.25, "the crop shows the face large"


def test_the_best_frame_is_only_the_reference(root):
    broad = face_points() * (1.3, 1) - (17, 0)
    faces = [face_points(), broad, face_points()]
    _, nearest = outside(root, faces)
    _, second = outside(root, faces, "--best_frame=1")
    _, first = outside(root, faces, "--best_frame=0")
    assert all((one["structure"] == other["structure"]).all() for one, other in zip(nearest, second, strict=True))
    assert (first[1]["structure"] != nearest[1]["structure"]).any()
    with pytest.raises(UserError, match="--best_frame: .* add --retarget"):
        outside(root, faces, "--best_frame=1", "--retarget=no")


def test_a_best_frame_is_not_animated_first(root):
    pair = write_pair(root, frames=3)
    for words in (["--best_frame=2"], ["--find_best_frame"]):
        data = dataset(root, *pair, *words, training=False)
        requested = RequestedClips(data, pair_settings(data.opt))
        requested.detector = Faces([face_points()] * 4)
        clip = requested.clip(*requests(data.opt))
        assert clip.first is None, "the recurrence begins with the first frame"


def test_landmarks_from_files_drive(root):
    for number in range(3):
        write_points(root / "points" / "drive" / f"{number}.txt", face_points(number))
    words = [*write_pair(root, frames=3), "--landmarks=file", f"--landmark_model={root / 'points'}", "--retarget=no"]
    data = dataset(root, *words, training=False)
    with pytest.raises(UserError, match=r"no landmarks for me.png \(me.npz"):
        RequestedClips(data, pair_settings(data.opt)).clip(*requests(data.opt))
    write_points(root / "points" / "me.txt", face_points())
    clip = RequestedClips(data, pair_settings(data.opt)).clip(*requests(data.opt))
    items = list(clip.driving)
    assert len(items) == 3 and (items[0]["structure"][1:] == clip.source["structure"][1:]).all()


def test_retargeting_a_face_to_itself_changes_nothing():
    neutral = face_points()
    retarget = Retarget(neutral, neutral)
    angle = np.array([[0.9, -0.2], [0.2, 0.9]])
    for points in (neutral, face_points(9, opening=8), face_points(opening=1) @ angle.T + (4, -3)):
        np.testing.assert_allclose(retarget(points), points, atol=1e-9)


def test_the_first_frame_of_a_scaled_face_becomes_the_source():
    source = face_points()
    np.testing.assert_allclose(Retarget(source, 0.5 * source + 20)(0.5 * source + 20), source, atol=1e-9)


def test_similarity_recovers_rotation_scale_and_shift():
    points = np.random.RandomState(0).rand(9, 2)
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    found, shift = similarity(points, points @ turn.T + (3, -5))
    np.testing.assert_allclose(found, turn, atol=1e-12)
    np.testing.assert_allclose(shift, (3, -5), atol=1e-12)
