"""Dataset mode `frames`: every form of clip, splits, people, augmentations, pairs, and errors that name the file."""

import random
import shutil

import numpy as np
import pytest
import torch
from layouts import prove_shorter
from reference.formula import image
from sounding import with_sound

from data.augment import Augmentation, _rotated_exactly, rotate
from data.frames import FramesDataset, find_entries
from data.video import VideoWriter, side_by_side, write_image
from data.video.packed import pack
from options import parse
from util.errors import UserError
from util.resizing import to_bytes, to_floats

SIZE = (24, 32)


def frames_of(name: str, count: int = 5) -> list[np.ndarray]:
    """Frames that are identified by their first pixel."""
    picture = np.rint(200 * np.moveaxis(image(name, (3, *SIZE)), 0, -1)).astype(np.uint8)
    frames = [picture.copy() for _ in range(count)]
    for index, frame in enumerate(frames):
        frame[0, 0] = 40 * index
    return frames


def write_folder(path, frames):
    for index, frame in enumerate(frames):
        write_image(path / f"{index:07d}.png", frame)


@pytest.fixture
def root(tmp_path):
    """A data folder with train and test, and clips of several forms."""
    for part, names in {"train": ["a#1.mp4", "a#2.mp4", "b#1.mp4"], "test": ["c#1", "d#1"]}.items():
        for name in names:
            write_folder(tmp_path / part / name, frames_of(name))
    write_image(tmp_path / "train" / "e.png", side_by_side(frames_of("e")))
    return tmp_path


def dataset(root, *words: str, training: bool = True) -> FramesDataset:
    opt = parse(["--model=fomm", f"--dataroot={root}", "--frame_shape=24,32,3", *words], training)
    return FramesDataset(opt, training)


def index_of(frame: torch.Tensor) -> int:
    return round(float(frame[0, 0, 0]) * 255 / 40)


def test_a_sample_is_two_frames_in_their_order(root):
    data = dataset(root)
    assert data.names == ["a#1.mp4", "a#2.mp4", "b#1.mp4", "e.png"]
    for index in range(len(data)):
        item = data[index]
        assert item["source"].shape == item["driving"].shape == (3, *SIZE)
        assert item["source"].dtype == torch.float32
        assert 0 <= item["source"].min() <= item["driving"].max() <= 1
        assert index_of(item["source"]) <= index_of(item["driving"])
        assert item["name"] == data.names[index]


def test_frames_are_drawn_uniformly_and_may_coincide(root):
    data = dataset(root)
    drawn = [tuple(index_of(data[0][key]) for key in ("source", "driving")) for _ in range(120)]
    assert {index for pair in drawn for index in pair} == {0, 1, 2, 3, 4}
    assert any(first == second for first, second in drawn)


def test_an_epoch_over_people_draws_one_of_their_clips(root):
    data = dataset(root, "--id_sampling", "--num_repeats=3")
    assert data.items == ["a", "b", "e"]
    assert len(data) == 9
    assert {data[0]["name"] for _ in range(40)} == {"a#1.mp4", "a#2.mp4"}
    assert {data[7]["name"] for _ in range(5)} == {"b#1.mp4"}


def test_both_frames_are_augmented_alike():
    frames = [frames_of("x")[0]] * 2
    augmentation = Augmentation(
        time_flip=True,
        horizontal_flip=True,
        degrees=(-20, 20),
        resize_ratio=(0.8, 1.2),
        crop_size=(20, 20),
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
    )
    outcomes = set()
    for _ in range(10):
        first, second = augmentation(frames)
        assert first.shape == (20, 20, 3)
        assert np.array_equal(first, second)
        outcomes.add(first.tobytes())
    assert len(outcomes) > 5


def test_nothing_set_changes_nothing():
    frames = frames_of("x")
    assert all(a is b for a, b in zip(Augmentation()(frames), frames, strict=True))


def test_rotation_of_a_picture_that_is_not_square_is_scikit_image_s():
    from skimage.transform import rotate as theirs

    frame = frames_of("x")[0] / np.float32(255)
    np.testing.assert_allclose(rotate([frame], 25)[0], theirs(frame, 25), atol=2e-5)


@pytest.mark.parametrize("degrees", [0, 12.3, -90, 135])
def test_bytes_are_rotated_like_floats(degrees):
    frame = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    exactly = _rotated_exactly([frame], degrees)[0]
    np.testing.assert_allclose(rotate([to_floats(frame)], degrees)[0], exactly, atol=2e-5)
    turned = rotate([frame], degrees)[0]
    assert turned.dtype == np.uint8
    # A byte changes where the sum is that near to the middle between two.
    difference = np.abs(turned.astype(int) - to_bytes(exactly))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_rotation_keeps_fractions_unless_jitter_rounds_them(monkeypatch):
    frames = [np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)]
    (turned,) = Augmentation(degrees=(7, 7)).after_flip(frames)
    assert turned.dtype == np.float32
    jittered = Augmentation(degrees=(7, 7), resize_ratio=(1.2, 1.2), contrast=1e-9)
    kept = []
    monkeypatch.setattr("data.augment.rotate", lambda frames, degrees: kept.append(frames) or rotate(frames, degrees))
    assert jittered.after_flip(frames)[0].dtype == np.uint8 and kept[0][0] is frames[0]


def test_reconstruction_drives_each_clip_by_itself(root):
    clips = list(dataset(root, "--mode=reconstruction", training=False).clips())
    assert [clip.name for clip in clips] == ["c#1", "d#1"]
    driving = [item["image"] for item in clips[0].driving]
    assert len(driving) == clips[0].length == 5
    assert torch.equal(clips[0].source["image"], driving[0])
    assert [index_of(frame) for frame in driving] == [0, 1, 2, 3, 4]


def test_pairs_come_from_a_list_or_at_random(root, tmp_path):
    clips = list(dataset(root, training=False).clips())
    assert sorted(clip.name for clip in clips) == ["c#1-c#1", "c#1-d#1", "d#1-c#1", "d#1-d#1"]
    table = tmp_path / "pairs.csv"
    table.write_text("distance,source,driving,frame\n0,d#1,c#1,0\n0,gone,c#1,0\n")
    clips = list(dataset(root, f"--pairs_list={table}", training=False).clips())
    assert [clip.name for clip in clips] == ["c#1-d#1"]
    assert torch.equal(clips[0].source["image"], clips[0].source["image"])


def test_single_pictures_become_items(root):
    data = dataset(root, training=False)
    frames = frames_of("other", 3)
    source = data.source_item(frames[:1])
    items = list(data.driving_items(iter(frames), source))
    assert [index_of(item["image"]) for item in items] == [0, 1, 2]
    assert torch.equal(source["image"], items[0]["image"])
    assert data.picture_size() == SIZE


def test_frames_are_resized(root):
    write_folder(root / "train" / "small", [frame[:16] for frame in frames_of("s")])
    data = dataset(root, "--load_size=12,16", "--num_repeats=2")
    shapes = {tuple(data[index]["driving"].shape) for index in range(len(data))}
    assert shapes == {(3, 12, 16)}
    assert dataset(root, "--load_size=8").picture_size() == (8, 8)
    clip = next(dataset(root, "--load_size=8", "--mode=reconstruction", training=False).clips())
    assert clip.source["image"].shape == next(iter(clip.driving))["image"].shape == (3, 8, 8)


@pytest.mark.parametrize("model", ["fomm", "mraa", "tps"])
def test_a_shape_of_two_numbers_resizes_frames(root, tmp_path, model):
    """Original files of MRAA and TPS may set it, and --load_size overrides it."""
    config = tmp_path / "original.yaml"
    config.write_text(f"dataset_params: {{root_dir: {root}, frame_shape: [12, 32]}}\n")
    for words, size in [([], (12, 32)), (["--load_size=8"], (8, 8)), (["--frame_shape=16,32"], (16, 32))]:
        opt = parse([f"--config={config}", f"--model={model}", *words], True)
        data = FramesDataset(opt, True)
        assert data.picture_size() == size
        assert {tuple(data[index]["source"].shape) for index in range(4)} == {(3, *size)}


def test_animation_needs_the_test_split_only(root):
    shutil.rmtree(root / "train")
    assert dataset(root, training=False).names == ["c#1", "d#1"]
    with pytest.raises(UserError, match="contains test but no train; move some clips to .*train"):
        dataset(root)


def test_a_folder_without_train_and_test_is_split(tmp_path):
    for index in range(10):
        write_folder(tmp_path / f"v{index:02}", frames_of(str(index), 1))
    train, test = (find_entries(tmp_path, training, seed=0)[1] for training in (True, False))
    assert test == ["v02", "v08"]
    assert len(train) == 8
    assert not set(train) & set(test)


def test_packed_clips_are_clips(root):
    frames = frames_of("packed")
    pack(root / "train" / "p.clip", frames, fps=25, format="png")
    data = dataset(root)
    item = data[data.names.index("p.clip")]
    assert 0 <= index_of(item["source"]) <= index_of(item["driving"]) < 5


def test_wrong_data_are_named(root, tmp_path):
    with pytest.raises(UserError, match="--dataroot .*nowhere"):
        dataset(tmp_path / "nowhere")
    write_folder(root / "train" / "small", [frame[:16] for frame in frames_of("s")])
    data = dataset(root)
    with pytest.raises(UserError, match="small.*16 x 32"):
        data[data.names.index("small")]
    (root / "empty" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="no test"):
        next(dataset(root / "empty", training=False).clips())
    strangers = tmp_path / "list.csv"
    strangers.write_text("source,driving\ngone,c#1\n")
    for table, words in ((strangers, "clips of only 0 of its 1 pairs are in .*names like c#1"),
                         (tmp_path / "absent.csv", "no such file; use --pairs_list= for random pairs")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            dataset(root, f"--pairs_list={table}", training=False).jobs()


def test_a_damaged_clip_is_reported_when_it_is_opened(root):
    (root / "test" / "broken.mp4").write_bytes(b"no video")
    broken, first, _ = dataset(root, "--mode=reconstruction", training=False).jobs()
    assert (broken.name, first.name) == ("broken", "c#1") and first.make().length == 5
    with pytest.raises(UserError, match="broken.mp4"):
        broken.make()


@pytest.mark.filterwarnings("ignore::data.video.DamagedVideo")
def test_frames_are_drawn_from_the_readable_part_of_a_clip(tmp_path):
    promised = prove_shorter(tmp_path / "train" / "a.mp4")
    data = dataset(tmp_path, "--frame_shape=32,32,3")
    for seed in range(200):
        random.seed(seed)
        drawn = sorted(random.choices(range(promised), k=2))
        if drawn[1] < promised - 1:
            continue
        random.seed(seed)
        item = data[0]
        assert item["source"].shape == item["driving"].shape == (3, 32, 32)
        if promised - 6 < drawn[0] < promised - 1:  # read first, which shows that the other is not there
            break
    else:
        pytest.fail("none of the draws met the end that is not there")


def test_bad_samples_are_named_by_their_files(root):
    """By the same random choice as in the sample."""
    for words in ((), ("--id_sampling",)):
        data = dataset(root, *words)
        for index in range(len(data)):
            random.seed(index)
            name = data.sample_name(index)
            random.seed(index)
            assert name == str(data.folder / data[index]["name"])


def test_clips_of_one_name_keep_their_suffixes(root):
    with VideoWriter(root / "test" / "c#1.gif", 10) as writer:
        writer.write(frames_of("c", 1)[0])
    planned = dataset(root, "--mode=reconstruction", training=False).jobs()
    assert [clip.name for clip in planned] == ["c#1", "c#1.gif", "d#1"]


def test_clips_have_the_requested_sound(root):
    with_sound(root / "test" / "loud.mp4", "libx264")
    table = root / "pairs.csv"
    table.write_text("source,driving\nc#1,loud.mp4\n")
    for choice, expected in (("driving", "loud.mp4"), ("none", None), ("source", None)):
        words = (f"--pairs_list={table}", f"--audio={choice}", "--load_size=24,32")
        (clip,) = dataset(root, *words, training=False).clips()
        assert (clip.audio and clip.audio.name) == expected


def test_a_sample_depends_on_the_seeds_alone(root):
    data = dataset(root, "--time_flip", "--jitter_hue=0.1")
    items = []
    for _ in range(2):
        random.seed(4)
        items.append(data[1])
    assert all(torch.equal(items[0][key], items[1][key]) for key in ("source", "driving"))
