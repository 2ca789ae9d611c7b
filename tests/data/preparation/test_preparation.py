"""The preparation scripts on small trees in the layouts of the real datasets, pits included, run as users run them."""

import csv
import os
import pickle
import re
import shutil
from pathlib import Path

import layouts
import numpy as np
import pytest
from script_runner import ScriptRunner

from data.preparation.items import part_sizes, picture_size, resize, split
from data.video import open_video, thin
from data.video.images import list_images, read_image, save_image


@pytest.fixture(scope="module")
def scripts():
    with ScriptRunner() as runner:
        yield runner


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same_files(left: Path, right: Path) -> None:
    """Videos by their frames: two encodings of the same frames need not be equal to the last bit."""
    files, others = snapshot(left), snapshot(right)
    assert files.keys() == others.keys()
    for name, content in files.items():
        if not name.endswith(".mp4"):
            assert content == others[name], name
        elif content != others[name]:
            with open_video(left / name) as video, open_video(right / name) as other:
                assert (video.fps, video.size, len(video)) == (other.fps, other.size, len(other)), name
                for frame, expected in zip(video, other, strict=True):
                    assert np.abs(frame.astype(int) - expected).mean() < 2, name


# what the scripts share


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 20, range(10)), (10, 1, [0]), (100, 3, [0, 50, 99]), (6, 3, [0, 2, 5]), (4, 3, [0, 2, 3]), (2, 2, [0, 1])],
)
def test_thinning_takes_both_ends_and_rounds_halves_to_even(count, wanted, expected):
    assert thin(count, wanted) == list(expected)


def test_split_is_exact_where_sizes_add_up_and_a_share_where_not():
    ids = [f"{number:03d}" for number in range(1000)]
    exact = split(ids, part_sizes("900/100"))
    assert (exact["899"], exact["900"]) == ("train", "test")
    assert list(split(ids[:20], (900, 100)).values()) == ["train"] * 18 + ["test"] * 2
    assert list(split(ids[:2], (900, 100)).values()) == ["train", "test"]
    assert list(split(ids[:1], (900, 100)).values()) == ["train"]
    assert list(split(ids[:3], (0, 5)).values()) == ["test"] * 3
    assert list(split(ids[:3], (5, 0)).values()) == ["train"] * 3


def test_sizes_keep_the_aspect_or_not_as_requested():
    frame = np.zeros((100, 200, 3), np.uint8)
    assert resize(frame, picture_size("50")).shape == (50, 100, 3)
    assert resize(frame, picture_size("30x40")).shape == (40, 30, 3)
    assert resize(frame, None) is frame


# FaceForensics


def test_faceforensics_by_its_lists(tmp_path, scripts):
    layouts.faceforensics(tmp_path / "FF")
    command = ["--in", "FF", "--splits", "FF/splits", "--every", "2", "--size", "24", "--workers", "0"]
    status, output = scripts.run("extract_frames", *command, folder=tmp_path)
    out = tmp_path / "dataset" / "FaceForensics"
    assert status == 0, output
    assert {phase: names(out / f"{phase}_data") for phase in ("train", "val", "test")} == {
        "train": ["000"],
        "val": ["001"],
        "test": ["002", "010", "071"],
    }
    assert names(out / "train_data" / "000") == ["00000.png", "00001.png", "00002.png"]
    assert read_image(out / "train_data" / "000" / "00001.png").shape == (24, 32, 3)
    assert open_video(out / "train_data" / "000").fps == 12.5, "every second frame of 25 a second"
    failures = table(out / "extract_frames_failures.csv")
    assert [Path(row["item"]).name for row in failures] == ["003.mp4"]
    assert "1 listed videos are missing: 555" in output and "1 videos are in no list, skipped: 999" in output


def test_lists_that_name_no_videos_are_reported(tmp_path, scripts):
    layouts.faceforensics(tmp_path / "FF")
    for path in (tmp_path / "FF" / "splits").iterdir():
        path.write_text("[[]]")
    status, output = scripts.run("extract_frames", "--in", "FF", "--splits", "FF/splits", folder=tmp_path)
    assert status == 2 and "error: --splits FF/splits: its lists are empty" in output


def test_own_videos_split_by_share_and_a_range_of_frames(tmp_path, scripts):
    for index in range(5):
        layouts.write_video(tmp_path / "videos" / "Zoë" / f"截_{index}.mp4", seed=index)
    command = [
        "--in",
        "videos",
        "--out",
        "out",
        "--split",
        "3/1",
        "--range",
        "2:4",
        "--format",
        "jpg",
        "--workers",
        "0",
    ]
    assert scripts.run("extract_frames", *command, folder=tmp_path)[0] == 0
    assert names(tmp_path / "out" / "test_data") == ["Zoë_截_4"]
    assert len(names(tmp_path / "out" / "train_data")) == 4
    frame = read_image(tmp_path / "out" / "test_data" / "Zoë_截_4" / "00000.jpg").astype(int)
    expected = layouts.picture(2, seed=4).astype(int)
    assert np.abs(frame - expected).mean() < 8 < np.abs(layouts.picture(5, seed=4) - expected).mean()
    # A new video does not move those there are from one part to the other.
    layouts.write_video(tmp_path / "videos" / "Zoë" / "截_9.mp4")
    assert scripts.run("extract_frames", *command, folder=tmp_path)[0] == 0
    assert names(tmp_path / "out" / "test_data") == ["Zoë_截_4", "Zoë_截_9"]
    assert len(names(tmp_path / "out" / "train_data")) == 4


def test_face_clips_cut_from_one_video_stay_together(tmp_path, scripts):
    layouts.faceforensics(tmp_path / "FF")
    for name in ("000#000000#000004", "071#000000#000003", "071#000003#000006", "555#000000#000006"):
        layouts.write_video(tmp_path / "crops" / f"{name}.mp4")
    command = ["--in", "crops", "--splits", "FF/splits", "--out", "listed", "--workers", "0"]
    assert scripts.run("extract_frames", *command, folder=tmp_path)[0] == 0
    assert names(tmp_path / "listed" / "train_data") == ["000#000000#000004"]
    assert names(tmp_path / "listed" / "test_data") == ["071#000000#000003", "071#000003#000006"]
    command = ["--in", "crops", "--split", "1/2", "--out", "shared", "--workers", "0"]
    assert scripts.run("extract_frames", *command, folder=tmp_path)[0] == 0
    assert names(tmp_path / "shared" / "train_data") == ["000#000000#000004"]


KEY_POINTS = ["--landmarks", "file", "--landmark_model", "points", "--workers", "0"]


def test_key_points_of_all_phases(tmp_path, scripts):
    root = layouts.frame_folders(tmp_path / "dataset" / "FaceForensics")
    shutil.move(root / "points", tmp_path / "points")
    status, output = scripts.run("obtain_face_kp", *KEY_POINTS, folder=tmp_path)
    assert status == 0, output
    assert names(root / "train_keypoints") == ["000", "Zoë_截圖"] and names(root / "test_keypoints") == ["010"]
    texts = names(root / "train_keypoints" / "Zoë_截圖")
    assert texts == [f"{index:05d}.txt" for index in range(layouts.FRAMES)]
    found = np.loadtxt(root / "train_keypoints" / "000" / "00003.txt", delimiter=",")
    assert np.array_equal(found, np.rint(layouts.points()[3]))
    assert (root / "train_keypoints" / "000" / "00000.txt").read_text().startswith("46,24\n")
    reports = {row["name"]: row for row in table(root / "train_keypoints.csv")}
    assert (reports["000"]["found"], reports["Zoë_截圖"]["found"], reports["Zoë_截圖"]["filled"]) == ("6", "5", "1")
    failures = table(root / "obtain_face_kp_failures.csv")
    assert [row["item"] for row in failures] == ["train_data/noface"] and "no face" in failures[0]["reason"]


def test_key_points_of_the_old_spelling_are_reused(tmp_path, scripts):
    root = layouts.frame_folders(tmp_path / "dataset" / "FaceForensics")
    shutil.move(root / "points", tmp_path / "points")
    old = root / "train_keypoint" / "000"
    old.mkdir(parents=True)
    for index in range(layouts.FRAMES):
        (old / f"{index:05d}.txt").write_text(f"{index},7\n" * 68)
    incomplete = root / "train_keypoint" / "Zoë_截圖"
    incomplete.mkdir()
    (incomplete / "00000.txt").write_text("1,1\n" * 68)
    assert scripts.run("obtain_face_kp", *KEY_POINTS, folder=tmp_path)[0] == 0
    assert (root / "train_keypoints" / "000" / "00004.txt").read_text() == "4,7\n" * 68
    assert (root / "train_keypoints" / "Zoë_截圖" / "00000.txt").read_text() != "1,1\n" * 68
    assert {row["name"]: row["source"] for row in table(root / "train_keypoints.csv")}["000"] == "train_keypoint"


def test_frames_without_a_face_are_skipped_on_request(tmp_path, scripts):
    root = layouts.frame_folders(tmp_path / "dataset" / "FaceForensics")
    shutil.move(root / "points", tmp_path / "points")
    command = [*KEY_POINTS, "--phases", "train", "--on_missing", "skip"]
    scripts.run("obtain_face_kp", *command, folder=tmp_path)
    assert "00002.txt" not in names(root / "train_keypoints" / "Zoë_截圖")
    status, output = scripts.run("obtain_face_kp", *command, folder=tmp_path)
    assert status == 0 and "0 of 3 made, 2 done before" in output, (
        "frames that were left out are no reason to start again"
    )


def test_key_points_of_nested_folders_go_to_training(tmp_path, scripts):
    from data.structure.sequences import find_sequences

    root = layouts.frame_folders(tmp_path / "dataset" / "FaceForensics")
    shutil.move(root / "points", tmp_path / "points")
    shutil.move(root / "train_data" / "000", root / "train_data" / "person" / "000")
    (known,) = (tmp_path / "points").glob("000*")
    known.rename(known.with_name(f"person_{known.name}"))
    (root / "train_data" / ".ipynb_checkpoints").mkdir()
    command = [*KEY_POINTS, "--phases", "train", "--on_missing", "skip"]
    status, output = scripts.run("obtain_face_kp", *command, folder=tmp_path)
    assert status == 0, output
    assert names(root / "train_keypoints" / "person" / "000") == [f"{index:05d}.txt" for index in range(layouts.FRAMES)]
    assert {"person_000", "Zoë_截圖"} == {row["name"] for row in table(root / "train_keypoints.csv")}
    lengths = {one.name: len(one) for one in find_sequences(root, "train")}
    assert lengths == {"person_000": layouts.FRAMES, "Zoë_截圖": layouts.FRAMES - 1}
    assert "2 done before" in scripts.run("obtain_face_kp", *command, folder=tmp_path)[1]
    shutil.copy(root / "train_data" / "person" / "000" / "00000.png", root / "train_data" / "person")
    status, output = scripts.run("obtain_face_kp", *command, folder=tmp_path)
    assert status == 2 and "person: contains pictures and folders of pictures" in output


# the points of the facial prior


PRIOR = ["--in", "micro", "--landmarks", "file", "--landmark_model", "micro/points", "--workers", "0"]


def test_prior_points_of_every_clip(tmp_path, scripts):
    from data.micro.prior_points import default_points, points_of_face, read_points

    layouts.prior_clips(tmp_path / "micro")
    status, output = scripts.run("kpmaker", *PRIOR, "--preview", folder=tmp_path)
    assert status == 0, output
    folder = tmp_path / "micro" / "keypoint_folder"
    assert sorted(path.stem for path in folder.glob("*.pt")) == ["000", "010", "Zoë_截圖"]
    assert np.array_equal(read_points(folder / "000.pt"), points_of_face(layouts.points()[0]))
    assert np.array_equal(read_points(folder / "Zoë_截圖.pt"), points_of_face(layouts.points(12)[2]))
    assert "Zoë_截圖: no face before frame 2" in output
    reasons = {row["item"]: row["reason"] for row in table(folder / "kpmaker_failures.csv")}
    assert reasons.keys() == {"train/noface", "test/empty"} and "--default_points" in reasons["train/noface"]
    assert read_image(folder / "previews" / "010.jpg").shape == (48, 64, 3)
    status, output = scripts.run("kpmaker", *PRIOR, "--default_points", "--frames", "1", folder=tmp_path)
    assert "3 done before" in output and "using the stored points" in output
    assert np.array_equal(read_points(folder / "noface.pt"), default_points((48, 64)))


def test_prior_points_of_a_single_test_part_are_found(tmp_path, scripts):
    from data.micro.prior_points import default_folder

    layouts.prior_clips(tmp_path / "micro")
    shutil.rmtree(tmp_path / "micro" / "train")
    status, output = scripts.run("kpmaker", *PRIOR, folder=tmp_path)
    assert status == 0, output
    assert default_folder(tmp_path / "micro") == tmp_path / "micro" / "keypoint_folder"
    assert (tmp_path / "micro" / "keypoint_folder" / "010.pt").is_file()


def test_prior_points_of_clips_without_parts_are_stored_beside_them(tmp_path, scripts):
    layouts.prior_clips(tmp_path)
    shutil.move(tmp_path / "train", tmp_path / "micro")
    status, output = scripts.run("kpmaker", *PRIOR[:-3], "points", "--workers", "0", folder=tmp_path)
    assert status == 0, output
    assert (tmp_path / "micro_keypoint_folder" / "000.pt").is_file()
    shutil.copyfile(tmp_path / "test" / "010.mp4", tmp_path / "micro" / "000.mp4")
    status, output = scripts.run("kpmaker", *PRIOR, folder=tmp_path)
    assert status == 2 and "get the same points 000.pt" in output


# VoxCeleb


def test_damaged_clips_are_found_by_decoding_and_moved_only_if_asked(tmp_path, scripts):
    root = layouts.voxceleb2(tmp_path / "mp4")
    before = snapshot(root)
    status, output = scripts.run("voxceleb_clean", "--root", "mp4", "--workers", "0", folder=tmp_path)
    damaged = {row["video"]: row["reason"] for row in table(tmp_path / "mp4_damaged.csv")}
    assert status == 0 and "3 of 6 videos are damaged" in output
    assert set(damaged) == {"id00012/-2k_Zé/00011.mp4", "id00012/cut/00001.mp4", "id00099/abc/00001.mp4"}
    assert "empty" in damaged["id00099/abc/00001.mp4"]
    assert snapshot(root) == before, "looking changes nothing"
    foreign = tmp_path / "damaged" / "id00012" / "cut" / "00001.mp4"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("somebody else's")
    command = ["--root", "mp4", "--move", "damaged", "--workers", "0"]
    status, output = scripts.run("voxceleb_clean", *command, folder=tmp_path)
    assert status == 0 and "done before" in output
    assert foreign.read_text() == "somebody else's"
    assert (foreign.with_name("00001.2.mp4")).is_file() and (tmp_path / "damaged" / "id00099/abc/00001.mp4").is_file()
    assert not (root / "id00099").exists() and (root / "id00012/-2k_Zé/00010.mp4").is_file()
    assert scripts.run("voxceleb_clean", *command, folder=tmp_path)[0] == 0


def test_only_damaged_clips_are_an_error(tmp_path, scripts):
    layouts.damage(tmp_path / "mp4" / "id1" / "a" / "1.mp4")
    assert scripts.run("voxceleb_clean", "--root", "mp4", "--workers", "0", folder=tmp_path)[0] == 1


def test_voxceleb2_to_sampled_frames(tmp_path, scripts):
    layouts.voxceleb2(tmp_path / "mp4")
    command = ["--in", "mp4", "--out", "frames", "--frames", "3", "--workers", "0"]
    status, output = scripts.run("voxceleb_extract_frames", *command, folder=tmp_path)
    assert status == 0, output
    video = tmp_path / "frames" / "id00012" / "21Uxsk56VDQ"
    assert names(video / "00001") == ["0.jpg", "3.jpg", "6.jpg"] and names(video / "00002") == [
        "0.jpg",
        "1.jpg",
        "2.jpg",
    ]
    assert len(table(tmp_path / "frames" / "voxceleb_extract_frames_failures.csv")) == 2
    assert "cut/00001.mp4" in output, "a clip cut short gives the frames before the cut, and a warning"
    command = ["--in", "frames", "--out", "sampled", "--frames", "4", "--workers", "0"]
    assert scripts.run("voxceleb_sample_frames", *command, folder=tmp_path)[0] == 0
    sampled = tmp_path / "sampled" / "id00012" / "21Uxsk56VDQ"
    assert names(sampled) == ["00001_0.jpg", "00001_6.jpg", "00002_0.jpg", "00002_2.jpg"]
    assert (sampled / "00001_6.jpg").read_bytes() == (video / "00001" / "6.jpg").read_bytes()


def test_voxceleb1_archive_is_sampled_through_its_extra_level(tmp_path, scripts):
    layouts.voxceleb1_dense(tmp_path / "data")
    command = ["--in", "data", "--out", "sampled", "--frames", "4", "--workers", "0"]
    status, output = scripts.run("voxceleb_sample_frames", *command, folder=tmp_path)
    assert status == 0, output
    person = tmp_path / "sampled" / "Zoë_Kravitz"
    # Of nine frames the 0th, 3rd (2.67), 5th (5.33) and 8th, clips in the order of their numbers.
    expected = ["0000001_0000000.jpg", "0000002_0000000.jpg", "0000002_0000050.jpg", "0000010_0000025.jpg"]
    assert names(person / "5y6hWcoe4UQ") == expected
    assert names(person / "short") == ["3_1.jpg", "3_10.jpg", "3_2.jpg"]
    (failure,) = table(tmp_path / "sampled" / "voxceleb_sample_frames_failures.csv")
    assert failure["item"].endswith("empty") and "no pictures" in failure["reason"]


def landmark_tree(root: Path) -> None:
    for person, video, missing in (("id1", "abc", (1,)), ("id1", "Zoë", ()), ("id2", "nobody", range(4))):
        layouts.write_frames(root / person / video, [f"1_{index}.jpg" for index in (0, 1, 2, 10)])
        layouts.write_points(root.parent / "points" / f"{video}.txt", layouts.points(4, missing))
    layouts.strays(root)
    layouts.strays(root / "id1" / "abc")


def test_landmarks_of_voxceleb_frames(tmp_path, scripts):
    landmark_tree(tmp_path / "vox")
    status, output = scripts.run("extract_landmarks", "--root", "vox", "--pickle", *KEY_POINTS, folder=tmp_path)
    assert status == 0, output
    with np.load(tmp_path / "vox" / "id1" / "abc" / "metadata.npz", allow_pickle=False) as stored:
        assert stored["names"].tolist() == ["1_0.jpg", "1_2.jpg", "1_10.jpg"]
        assert np.array_equal(stored["landmarks"], layouts.points(4)[[0, 2, 3]]) and stored["landmarks"].dtype == "f4"
        assert (int(stored["size"]), int(stored["frames"])) == (256, 4)
    pairs = pickle.loads((tmp_path / "vox" / "id1" / "abc" / "metadata.pkl").read_bytes())
    assert [name for name, _ in pairs] == ["1_0.jpg", "1_2.jpg", "1_10.jpg"] and pairs[0][1].shape == (68, 2)
    assert not (tmp_path / "vox" / "id2" / "nobody" / "metadata.npz").exists()
    (failure,) = table(tmp_path / "vox" / "extract_landmarks_failures.csv")
    assert failure["item"] == "id2/nobody" and "no face in any of its 4 frames" in failure["reason"]


def bright_corner(frame: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.where(frame.mean(2) > 128)
    return columns.min(), rows.min(), columns.max(), rows.max()


def write_marked_video(path: Path, size: tuple[int, int], box: tuple[int, int, int, int], frames: int = 20) -> None:
    """A dark video in which a box is bright from frame 5 on."""
    from data.video import VideoWriter

    left, top, right, bottom = box
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 25, comment="drawn for a test") as writer:
        for index in range(frames):
            frame = np.full((*size, 3), 20, np.uint8)
            if index >= 5:
                frame[top:bottom, left:right] = 220
            writer.write(frame)


@pytest.mark.parametrize("fractions", [False, True])
def test_voxceleb_boxes_in_pixels_at_360_and_in_fractions(tmp_path, scripts, fractions):
    # The video is 180 high, so that pixels at 360 count half.
    write_marked_video(tmp_path / "videos" / "more" / "-abc.mp4", (180, 320), (100, 60, 160, 120))
    boxes = [(200, 120, 100, 120), (220, 120, 100, 120)]
    if fractions:
        boxes = [(x / 640, y / 360, w / 640, h / 360) for x, y, w, h in boxes]
    layouts.voxceleb_text(tmp_path / "txt" / "id1" / "-abc" / "00001.txt", boxes, first=5, fractions=fractions)
    layouts.voxceleb_text(tmp_path / "txt" / "id1" / "gone" / "00001.txt", boxes, fractions=fractions)
    (tmp_path / "txt" / "id1" / "-abc" / "00002.txt").write_text("Identity  : \tid1\n")
    layouts.strays(tmp_path / "txt" / "id1")
    command = [
        "--videos",
        "videos",
        "--txt",
        "txt",
        "--out",
        "out",
        "--size",
        "64x64",
        "--margin",
        "0",
        "--workers",
        "0",
    ]
    status, output = scripts.run("voxceleb_crop", *command, folder=tmp_path)
    assert status == 0, output
    with open_video(tmp_path / "out" / "id1" / "-abc" / "00001.mp4") as clip:
        assert len(clip) == 2 and clip.fps == 25 and clip.size == (64, 64)
        assert clip[0].mean() > 200, "the box is bright from frame 5, and fills the square"
    reasons = [row["reason"] for row in table(tmp_path / "out" / "voxceleb_crop_failures.csv")]
    assert "FRAME X Y W H" in reasons[0] and "gone" in reasons[1]


def test_metadata_csv_of_the_first_order_project(tmp_path, scripts):
    write_marked_video(tmp_path / "videos" / "vid.mp4", (180, 320), (100, 60, 160, 120))
    header = "partition,video_id,person_id,start,end,bbox,fps,width,height"
    rows = ["train,vid,id7,10,30,200-120-320-240,50,640,360", "test,vid,,0,60,0-0-640-360,50,640,360"]
    (tmp_path / "meta.csv").write_text("\n".join([header, *rows]) + "\n")
    command = ["--videos", "videos", "--metadata", "meta.csv", "--out", "out", "--size", "32x32", "--workers", "0"]
    status, output = scripts.run("voxceleb_crop", *command, folder=tmp_path)
    assert status == 0, output
    with open_video(tmp_path / "out" / "train" / "id7#vid#000010#000030.mp4") as clip:
        assert len(clip) == 10, "frames i with 10/50 <= i/25 < 30/50"
        assert clip[0].mean() > 200 and clip[9].mean() > 200
    with open_video(tmp_path / "out" / "test" / "vid#000000#000060.mp4") as clip:
        assert len(clip) == 20 and clip[0].mean() < 40
    assert "the video ends after 20 of 30 frames" in output
    (tmp_path / "meta.csv").write_text(header.replace("bbox", "box") + "\n" + rows[0] + "\n")
    status, output = scripts.run("voxceleb_crop", *command, folder=tmp_path)
    assert status == 2 and "line 2" in output and "'bbox'" in output


# micro-expressions

MICRO = ["--landmarks", "file", "--landmark_model", "points", "--size", "32x32", "--out", "out", "--workers", "0"]


def write_micro_points(folder: Path, *clips: str) -> None:
    for clip in clips:
        layouts.write_points(folder / "points" / f"{clip}.txt", layouts.points(10))


def test_casme2(tmp_path, scripts):
    pytest.importorskip("openpyxl")
    layouts.casme2(tmp_path / "CASME2")
    write_micro_points(tmp_path, "sub01_EP02_01f", "sub02_EP02_01f", "sub01_EP19_05f", "sub11_EP01_02")
    command = ["--dataset", "casme2", "--in", "CASME2", *MICRO, "--test_subjects", "2"]
    status, output = scripts.run("prepare_microexpression", *command, folder=tmp_path)
    assert status == 0, output
    out = tmp_path / "out"
    assert names(out / "train") == ["sub01_EP02_01f", "sub01_EP19_05f"] and names(out / "test") == ["sub02_EP02_01f"]
    assert names(out / "train" / "sub01_EP02_01f") == [f"{index:05d}.png" for index in range(46, 51)]
    clip = open_video(out / "train" / "sub01_EP02_01f")
    assert clip.size == (32, 32) and clip.fps == 200
    rows = {row["name"]: row for row in table(out / "clips.csv")}
    known = {key: rows["sub01_EP02_01f"][key] for key in ("split", "subject", "emotion", "class", "action_units")}
    assert known == {
        "split": "train",
        "subject": "1",
        "emotion": "happiness",
        "class": "positive",
        "action_units": "12",
    }
    marks = {name: [row[key] for key in ("frames", "onset", "apex", "offset")] for name, row in rows.items()}
    assert marks["sub01_EP02_01f"] == ["5", "0", "2", "4"] and marks["sub01_EP19_05f"] == ["2", "0", "", "1"]
    assert "sub01_EP19_05f: 1 of its frames are not there" in output
    reasons = {row["item"]: row["reason"] for row in table(out / "prepare_microexpression_failures.csv")}
    assert "onset 7 and offset 3" in reasons["sub11_EP01_02"] and "no folder EP03_99" in reasons["02_EP03_99"]


def test_samm(tmp_path, scripts):
    pytest.importorskip("openpyxl")
    layouts.samm(tmp_path / "SAMM")
    write_micro_points(tmp_path, "006_1_2", "007_7_1", "011_2_1")
    command = ["--dataset", "samm", "--in", "SAMM", *MICRO, "--grey"]
    status, output = scripts.run("prepare_microexpression", *command, folder=tmp_path)
    assert status == 0, output
    out = tmp_path / "out"
    assert names(out / "train") == ["006_1_2", "007_7_1"]
    assert names(out / "train" / "006_1_2") == [f"{index:05d}.png" for index in (563, 564, 565, 566)]
    frame = read_image(out / "train" / "006_1_2" / "00563.png")
    assert np.array_equal(frame[..., 0], frame[..., 2])
    rows = {row["name"]: row for row in table(out / "clips.csv")}
    assert (rows["007_7_1"]["emotion"], rows["007_7_1"]["apex"]) == ("surprise", "2")
    (failure,) = table(out / "prepare_microexpression_failures.csv")
    assert failure["item"] == "011_2_1" and "none from onset 100 to offset 106" in failure["reason"]
    status, _ = scripts.run("prepare_microexpression", *command, "--all_frames", "--out", "whole", folder=tmp_path)
    assert len(names(tmp_path / "whole" / "test" / "011_2_1")) == 6


def test_smic(tmp_path, scripts):
    layouts.smic(tmp_path / "SMIC")
    command = ["--dataset", "smic", "--in", "SMIC", *MICRO, "--no_crop", "--test_subjects", "3", "11"]
    status, output = scripts.run("prepare_microexpression", *command, folder=tmp_path)
    assert status == 0, output
    assert names(tmp_path / "out" / "train") == ["s1_ne_01", "s1_sur_02"]
    assert names(tmp_path / "out" / "test") == ["s11_ne_02", "s3_po_05"]
    rows = {row["name"]: row for row in table(tmp_path / "out" / "clips.csv")}
    assert [rows["s3_po_05"][key] for key in ("class", "frames", "onset", "offset")] == ["positive", "5", "0", "4"]
    assert open_video(tmp_path / "out" / "train" / "s1_ne_01").fps == 100


# drawn people, found by dlib


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Videos of two people, one of them in a folder with two videos, one of nobody, and a damaged one."""
    from data.sample_faces import tiny_clip
    from data.video import VideoWriter

    root = tmp_path_factory.mktemp("people") / "videos"
    for name, identity in (("Zoë/001", 0), ("Zoë/02 é", 0), ("bob", 1)):
        frames, _ = tiny_clip(identity, frames=6, size=160, kind=len(name))
        path = root / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, 25, quality=95, comment="drawn for a test") as writer:
            for frame in frames:
                writer.write(frame)
    layouts.write_video(root / "nobody.mp4", frames=6)
    layouts.damage(root / "broken.mp4")
    layouts.strays(root)
    return root


OWN = ["--in", "videos", "--out", "mine", "--min_frames", "4", "--min_size", "40", "--size", "128", "--workers", "0"]


def test_own_videos_become_every_familys_layout(tmp_path, scripts, people):
    from data.video.clip_index import ClipIndex
    from data.video.packed import PackedClip

    shutil.copytree(people, tmp_path / "videos")
    status, output = scripts.run("prepare_videos", *OWN, "--split", "1/1", "--preview", folder=tmp_path)
    assert status == 0, output  # in the order of names: bob and broken to train, nobody and Zoë to test
    mine = tmp_path / "mine"
    clips = {part: [path.stem for path in sorted((mine / part).glob("*.clip"))] for part in ("train", "test")}
    assert clips == {"train": ["bob#000000#000006"], "test": ["Zoë#001#000000#000006", "Zoë#02 é#000000#000006"]}
    assert ClipIndex(mine / "test").identity_name(0) == "Zoë"
    clip = PackedClip(mine / "train" / "bob#000000#000006.clip")
    points = clip.arrays["landmarks"]
    assert clip.size == (128, 128) and len(clip) == 6 and points.shape == (6, 68, 2)
    assert points.min() > 10 and points.max() < 118 and np.ptp(points[0, :, 0]) > 30, "the face is in the picture"
    text = np.loadtxt(mine / "train_keypoints" / "bob#000000#000006" / "00003.txt", delimiter=",")
    assert np.array_equal(text, np.rint(points[3])) and len(list_images(mine / "train_data" / "bob#000000#000006")) == 6
    with np.load(mine / "talking_head" / "train" / "bob" / "bob#000000#000006" / "metadata.npz") as stored:
        assert np.allclose(stored["landmarks"], points * 2) and stored["names"][0] == "00000.jpg"
    portrait = PackedClip(mine / "portraits" / "train" / "bob#000000#000006.clip")
    assert portrait.size == (512, 512) and len(portrait) == 6 and ClipIndex(mine / "portraits" / "test")
    shapes = {name: array.shape for name, array in portrait.arrays.items()}
    assert shapes == {"landmarks": (6, 68, 2), "boxes": (6, 2, 4), "angles": (6, 3)}
    # The square is 2.3 faces large, and its middle an eighth of it above the face's.
    inside = portrait.arrays["landmarks"].reshape(-1, 2)
    assert 0.3 < np.ptp(inside, axis=0).max() / 512 < 0.6 and inside.mean(0)[1] > 512 * 0.5
    assert (mine / "ganimation" / "train_ids.csv").read_text() == "bob_000000_000006_00000.jpg\n"
    assert read_image(mine / "ganimation" / "imgs" / "bob_000000_000006_00000.jpg").shape == (128, 128, 3)
    assert len(table(mine / "clips.csv")) == 3 and len(list((mine / "previews").iterdir())) == 4
    reasons = {row["item"]: row["reason"] for row in table(mine / "prepare_videos_failures.csv")}
    assert reasons.keys() == {"videos/nobody.mp4", "videos/broken.mp4"} and "no face" in reasons["videos/nobody.mp4"]


def test_dlib_finds_the_points_of_frames_and_the_square_of_a_micro_expression(tmp_path, scripts):
    from data.sample_faces import tiny_clip

    frames, truth = tiny_clip(0, frames=4, size=160)
    for folder in ("ff/test_data/001", "vox/id1/abc", "SMIC/HS/s01/micro/negative/s1_ne_01"):
        (tmp_path / folder).mkdir(parents=True)
        for index, frame in enumerate(frames):
            save_image(tmp_path / folder / f"image{index}.png", frame)
    commands = {
        "obtain_face_kp": ["--root", "ff"],
        "extract_landmarks": ["--root", "vox", "--size", "160"],
        "prepare_microexpression": ["--dataset", "smic", "--in", "SMIC", "--out", "micro", "--size", "96x96"],
    }
    for script, arguments in commands.items():
        status, output = scripts.run(script, *arguments, "--workers", "0", folder=tmp_path)
        assert status == 0, output
    eyes = np.linalg.norm(truth.landmarks[2, 36] - truth.landmarks[2, 45])
    found = np.loadtxt(tmp_path / "ff" / "test_keypoints" / "001" / "image2.txt", delimiter=",")
    assert np.median(np.linalg.norm(found - truth.landmarks[2], axis=1)) < 0.15 * eyes
    with np.load(tmp_path / "vox" / "id1" / "abc" / "metadata.npz") as stored:
        assert np.median(np.linalg.norm(stored["landmarks"][2] - truth.landmarks[2], axis=1)) < 0.15 * eyes
    clip = open_video(tmp_path / "micro" / "train" / "s1_ne_01")
    assert len(clip) == 4 and clip.size == (96, 96)
    inside = [np.abs(clip[0].astype(float) - clip[3]).mean(), np.abs(frames[0].astype(float) - frames[3]).mean()]
    assert inside[0] > inside[1], "the square shows the face, which moves, and less of what does not"


# bad input


@pytest.mark.parametrize(
    ("script", "arguments", "hint"),
    [
        ("extract_frames", ["--in", "missing"], "--in missing: no such folder"),
        ("extract_frames", ["--in", "empty"], "no videos in it"),
        ("extract_frames", ["--in", "empty", "--split", "900"], "TRAIN/TEST"),
        ("extract_frames", ["--in", "empty", "--range", "5:2"], "FIRST:LAST"),
        ("obtain_face_kp", [], "dataset/FaceForensics: no such folder"),
        ("obtain_face_kp", ["--root", "empty"], "extract_frames.py"),
        ("voxceleb_clean", ["--root", "missing"], "--root missing: no such folder"),
        ("voxceleb_clean", ["--root", "empty"], "no videos"),
        ("voxceleb_clean", ["--root", "empty", "--move", "empty/bad"], "inside --root"),
        ("voxceleb_extract_frames", ["--in", "empty"], "<person>/<video>/<clip>.mp4"),
        ("voxceleb_sample_frames", ["--in", "empty", "--out", "o"], "<person>/<video>"),
        ("extract_landmarks", ["--root", "empty"], "<person>/<video>"),
        ("voxceleb_crop", ["--videos", "empty", "--txt", "empty", "--out", "o"], "no videos in it"),
        ("prepare_microexpression", ["--dataset", "smic", "--in", "empty", "--out", "o"], "no clips of smic"),
        ("prepare_microexpression", ["--dataset", "samm", "--in", "empty", "--out", "o"], "--table"),
        ("kpmaker", ["--in", "missing"], "--in missing: no such folder"),
        ("kpmaker", ["--in", "empty"], "no clips in empty"),
        ("prepare_videos", ["--in", "missing", "--out", "o"], "--in missing: no such folder"),
        ("prepare_videos", ["--in", "empty", "--out", "o"], "no videos in it"),
    ],
)
def test_bad_input_is_reported_by_name_without_a_traceback(tmp_path, scripts, script, arguments, hint):
    (tmp_path / "empty").mkdir()
    status, output = scripts.run(script, *arguments, folder=tmp_path)
    assert status == 2 and hint in output and "Traceback" not in output


WITH_INPUT = [
    "extract_frames",
    "obtain_face_kp",
    "voxceleb_clean",
    "voxceleb_extract_frames",
    "voxceleb_sample_frames",
    "extract_landmarks",
    "kpmaker",
    "voxceleb_crop",
    "prepare_microexpression",
    "prepare_videos",
]


@pytest.mark.parametrize("script", WITH_INPUT)
def test_a_full_disk_stops_the_script_with_one_line(tmp_path, scripts, script):
    arguments = [*build_input(script, tmp_path), "--workers", "0"]
    status, output = scripts.run(script, *arguments, folder=tmp_path, full_disk=True)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(errors) == 1 and "No space left on device; make room" in errors[0], output
    assert "Traceback" not in output and ".part" not in output
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_without_write_permission_is_reported_in_one_line(tmp_path, scripts):
    layouts.write_video(tmp_path / "in" / "a.mp4")
    (tmp_path / "file").touch()
    for command in (["extract_frames", "--in", "in", "--out", "file/x"], ["make_sample_dataset", "--out", "file/x"]):
        status, output = scripts.run(*command, "--workers", "0", folder=tmp_path)
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert status == 1 and len(errors) == 1 and "Not a directory" in errors[0] and "file" in errors[0], output
        assert "Traceback" not in output


# killed and started again


def build_input(script: str, folder: Path) -> list[str]:
    """The input of a script, and the arguments to run it on it."""
    if script == "extract_frames":
        layouts.faceforensics(folder / "FF")
        return ["--in", "FF", "--splits", "FF/splits"]
    if script == "obtain_face_kp":
        layouts.frame_folders(folder / "ff")
        return ["--root", "ff", *KEY_POINTS[:2], "--landmark_model", "ff/points"]
    if script in ("voxceleb_clean", "voxceleb_extract_frames"):
        layouts.voxceleb2(folder / "mp4")
        return ["--root", "mp4", "--move", "bad"] if script == "voxceleb_clean" else ["--in", "mp4", "--frames", "3"]
    if script == "voxceleb_sample_frames":
        layouts.voxceleb1_dense(folder / "data")
        return ["--in", "data", "--out", "out", "--frames", "4"]
    if script == "kpmaker":
        layouts.prior_clips(folder / "micro")
        return [*PRIOR[:-2], "--preview"]
    if script == "extract_landmarks":
        landmark_tree(folder / "vox")
        return ["--root", "vox", "--pickle", *KEY_POINTS[:4]]
    if script == "voxceleb_crop":
        write_marked_video(folder / "videos" / "a.mp4", (90, 160), (20, 20, 60, 60))
        for clip in (1, 2, 3):
            layouts.voxceleb_text(folder / f"txt/id1/a/0000{clip}.txt", [(0.2, 0.2, 0.3, 0.3)] * 3, fractions=True)
        layouts.voxceleb_text(folder / "txt" / "id1" / "gone" / "00001.txt", [(0.2, 0.2, 0.3, 0.3)], fractions=True)
        return ["--videos", "videos", "--txt", "txt", "--out", "out", "--size", "32x32"]
    if script == "prepare_videos":
        for person, video in (("Zoë", "001"), ("Zoë", "02 é"), ("bob", "1")):
            layouts.write_video(folder / "videos" / person / f"{video}.mp4")
            layouts.write_points(folder / "points" / f"{person}#{video}.txt", layouts.points(missing=(1,)))
        layouts.damage(folder / "videos" / "broken.mp4")
        return [*OWN[:-2], "--split", "1/1", "--min_size", "10", *KEY_POINTS[:4]]
    layouts.smic(folder / "SMIC")
    return ["--dataset", "smic", "--in", "SMIC", "--out", "out", "--no_crop"]


@pytest.mark.parametrize("script", WITH_INPUT)
def test_killed_at_any_moment_and_started_again_gives_the_files_of_one_run(tmp_path, scripts, script):
    arguments = [*build_input(script, tmp_path / "one"), "--workers", "0"]
    # With their times, which the clean script knows its videos by.
    shutil.copytree(tmp_path / "one", tmp_path / "killed", copy_function=shutil.copy2)
    assert scripts.run(script, *arguments, folder=tmp_path / "one")[0] == 0
    moments = 0
    for moment in (1, 2, 3, 6, 9):
        status, output = scripts.run(script, *arguments, folder=tmp_path / "killed", kill_at=moment)
        moments += status == -9
        assert status in (-9, 0), output
    assert moments >= 3, "it was killed several times on its way"
    status, output = scripts.run(script, *arguments, folder=tmp_path / "killed")
    assert status == 0, output
    assert_same_files(tmp_path / "killed", tmp_path / "one")


# names that are no UTF-8

LATIN = os.fsdecode(b"caf\xe9")
"""Caf\u00e9 as an old disk or archive has it."""
ESCAPED = r"caf\xe9"
NOT_UTF_8 = {
    "extract_frames": ("001.mp4", "003.mp4"),
    "obtain_face_kp": ("train_data/000", "noface"),
    "voxceleb_clean": ("-2k_Zé",),
    "voxceleb_extract_frames": ("-2k_Zé", "21Uxsk56VDQ/00001.mp4"),
    "voxceleb_sample_frames": ("short", "empty"),
    "extract_landmarks": ("nobody", "vox/id1/abc"),
    "kpmaker": ("noface", "test/010.mp4"),
    "voxceleb_crop": ("gone", "a/00003.txt"),
    "prepare_microexpression": ("s1_sur_02", "s1_ne_01"),
    "prepare_videos": ("videos/bob", "videos/broken.mp4"),
    "crop_faces": ("videos/bob", "videos/broken.mp4"),
}
"""Valid and damaged parts of the input, with another prefix."""


@pytest.mark.parametrize("script", [*WITH_INPUT, "crop_faces"])
def test_names_outside_utf_8_do_not_stop_a_batch(tmp_path, scripts, script):
    folder = tmp_path / "here"
    arguments = build_input("prepare_videos" if script == "crop_faces" else script, folder)
    for name in NOT_UTF_8[script]:
        (path,) = [path for path in folder.rglob(Path(name).name) if str(path).endswith(name)]
        path.rename(path.with_name(LATIN + path.name))
    if script == "prepare_videos":
        layouts.write_points(folder / "points" / f"{ESCAPED}bob#1.txt", layouts.points(missing=(1,)))
    if script == "crop_faces":
        layouts.write_points(folder / "points" / f"{ESCAPED}bob_1.txt", layouts.points())
        arguments = ["--in", "videos", "--out", "mine", "--min_frames", "4", "--min_size", "10", *KEY_POINTS[:4]]
    if script == "extract_frames":
        shutil.rmtree(folder / "FF" / "splits")
        arguments = ["--in", "FF", "--split", "3/3"]
    status, output = scripts.run(script, *arguments, "--workers", "0", folder=folder)
    assert status == 0 and "Traceback" not in output and "UnicodeEncodeError" not in output, output
    written = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.csv") if path.parent.name != "SMIC")
    assert ESCAPED in written
    again, output = scripts.run(script, *arguments, "--workers", "0", folder=folder)
    assert again == 0 and "done before" in output, "what is made is known again"


def test_clips_of_videos_with_names_outside_utf_8(tmp_path, scripts):
    from data.video.clip_index import ClipIndex

    for name in ("good", "bad"):
        layouts.write_video(tmp_path / "videos" / LATIN / f"{LATIN}{name}.mp4")
    layouts.damage(tmp_path / "videos" / LATIN / f"{LATIN}bad.mp4")
    command = ["--in", "videos", "--out", "packed", "--workers", "0"]
    status, output = scripts.run("pack_frames", *command, folder=tmp_path)
    assert status == 0 and "1 of 2 made" in output, output
    index = ClipIndex(tmp_path / "packed")
    assert index.name(0) == f"{ESCAPED}/{ESCAPED}good" and index.identity_name(0) == ESCAPED
    assert index[0].meta["source"] == f"{LATIN}good.mp4" and len(index[0]) == layouts.FRAMES
    (failure,) = table(tmp_path / "packed" / "pack_frames_failures.csv")
    assert failure["item"] == f"videos/{ESCAPED}/{ESCAPED}bad.mp4"
    # A clip that somebody else packed keeps its name.
    (tmp_path / "packed" / f"{LATIN}.clip").write_bytes(
        (tmp_path / "packed" / ESCAPED / f"{ESCAPED}good.clip").read_bytes()
    )
    assert scripts.run("pack_frames", "--index", "packed", folder=tmp_path)[0] == 0
    index = ClipIndex(tmp_path / "packed")
    assert [index.name(number) for number in (0, 1)] == [f"{ESCAPED}/{ESCAPED}good", LATIN] and len(index[1]) > 0


# videos that can be read in part


@pytest.mark.parametrize(
    ("script", "command", "made"),
    [
        ("pack_frames", ["--in", "videos", "--out", "out"], "out/half.clip"),
        ("extract_frames", ["--in", "videos", "--out", "out", "--split", "1/0"], "out/train_data/half"),
    ],
)
def test_truncated_videos_are_reported_and_refused_on_request(tmp_path, scripts, script, command, made):
    path = tmp_path / "videos" / "half.mp4"
    layouts.write_video(path, frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    status, output = scripts.run(script, *command, "--workers", "0", "--strict_video", folder=tmp_path)
    assert status == 1 and not (tmp_path / made).exists()
    (failure,) = table(tmp_path / "out" / f"{script}_failures.csv")
    counts = re.search(r"([0-9]+) of 60 frames could be read", failure["reason"])
    assert counts and "--strict_video" in failure["reason"] and counts[0] in output
    status, output = scripts.run(script, *command, "--workers", "0", folder=tmp_path)
    assert status == 0 and counts[0] in output and "1 with a warning" in output
    assert len(open_video(tmp_path / made)) == int(counts[1])
