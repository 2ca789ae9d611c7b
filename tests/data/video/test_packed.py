"""Packed clips and their index: contents survive, a frame is one read, and no damage goes unnoticed."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from data.video import VideoWriter, open_video, write_image
from data.video.clip_index import INDEX_NAME, ClipIndex, identity_of, index_folder, write_index
from data.video.packed import PackedClip, pack
from util.errors import UserError


def frame(number: int, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([rows * 5 % 256, columns * 4 % 256, np.full(size, number * 9)], axis=2).astype(np.uint8)


def make(path: Path, count: int = 8, **options) -> Path:
    pack(path, (frame(number) for number in range(count)), **{"fps": 25, **options})
    return path


@pytest.mark.parametrize(("format", "tolerance"), [("png", 0), ("jpeg", 3)])
def test_packed_clips_are_read(tmp_path, format, tolerance):
    landmarks = np.random.default_rng(0).random((8, 68, 2)).astype(np.float32)
    arrays = {
        "landmarks": landmarks,
        "empty": np.empty((0, 3)),
        "emotions": np.array(["joy", "fear"]),
        "one": np.int16(3),
    }
    meta = {"identity": "Zoë", "boxes": [1, 2]}
    make(tmp_path / "a.clip", fps=Fraction(30000, 1001), format=format, arrays=arrays, meta=meta)
    clip = PackedClip(tmp_path / "a.clip")
    assert len(clip) == 8 and clip.fps == Fraction(30000, 1001) and clip.size == (40, 56) and clip.meta == meta
    for number, picture in enumerate(clip):
        assert picture.dtype == np.uint8 and np.abs(picture.astype(int) - frame(number)).mean() <= tolerance
    assert set(clip.arrays) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(clip.arrays[name], array) and clip.arrays[name].dtype == np.asarray(array).dtype
    assert not clip.arrays["landmarks"].flags.writeable and clip.arrays["landmarks"].flags.aligned
    assert np.array_equal(clip[-1], clip[7]) and len(clip[2:5]) == 3
    with pytest.raises(IndexError):
        clip[8]
    clip.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["a.clip"]


def test_a_clip_is_a_video_like_others(tmp_path):
    video = open_video(make(tmp_path / "a.clip", format="png"), fps=50)
    assert len(video) == 16 and np.array_equal(video[5], frame(2)) and len(list(video)) == 16


def test_a_frame_is_one_read(tmp_path, monkeypatch):
    clip = PackedClip(make(tmp_path / "a.clip"))
    reads = []
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda *arguments: reads.append(arguments) or read(*arguments))
    clip[6], clip[1]
    assert len(reads) == 2


def test_the_same_frames_give_the_same_file(tmp_path):
    assert make(tmp_path / "a.clip").read_bytes() == make(tmp_path / "b.clip").read_bytes()


def test_clips_in_other_processes(tmp_path):
    clip = PackedClip(make(tmp_path / "a.clip", format="png", arrays={"a": np.arange(4)}))
    assert np.array_equal(pickle.loads(pickle.dumps(clip))[3], frame(3))
    results = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=lambda: results.put((clip[2], clip.arrays["a"].sum())))
    child.start()
    picture, total = results.get()
    child.join()
    assert np.array_equal(picture, frame(2)) and total == 6 and np.array_equal(clip[5], frame(5))


def test_packing_goes_whole_or_not_at_all(tmp_path):
    def breaks():
        yield frame(0)
        raise RuntimeError("the video is damaged")

    with pytest.raises(RuntimeError):
        pack(tmp_path / "a.clip", breaks(), fps=25)
    with pytest.raises(UserError, match="no frame"):
        pack(tmp_path / "a.clip", [], fps=25)
    with pytest.raises(UserError, match="one size"):
        pack(tmp_path / "a.clip", [frame(0), frame(1, (40, 40))], fps=25)
    with pytest.raises(UserError, match="jpeg, png"):
        make(tmp_path / "a.clip", format="gif")
    with pytest.raises(ValueError, match="objects"):
        make(tmp_path / "a.clip", arrays={"a": np.array([{}])})
    assert list(tmp_path.iterdir()) == []


def test_no_changed_byte_goes_unnoticed(tmp_path):
    whole = make(tmp_path / "a.clip", 3, arrays={"landmarks": np.arange(100.0)}).read_bytes()
    ignored = 0
    for place in range(0, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 0x41
        (tmp_path / "a.clip").write_bytes(content)
        try:
            PackedClip(tmp_path / "a.clip").verify()
            ignored += 1
        except UserError as error:
            assert "a.clip" in str(error) and "pack" in str(error)
    # Only what fills up to the next array has no checksum.
    assert ignored <= 3 * 64 / 7 + 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda whole: b"", "empty"),
        (lambda whole: b"hello\n" * 100, "does not begin"),
        (lambda whole: whole[:40], "header"),
        (lambda whole: whole[:-100], "bytes long instead of"),
        (lambda whole: whole + b"x", "bytes long instead of"),
        (lambda whole: whole[:8] + b"\x09" + whole[9:], "format 9"),
    ],
)
def test_damage_is_named(tmp_path, change, reason):
    path = make(tmp_path / "a.clip")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=f"a.clip.*{reason}"):
        PackedClip(path)
    with pytest.raises(UserError, match="b.clip: cannot open it"):
        PackedClip(tmp_path / "b.clip")


def test_a_damaged_frame_leaves_the_others(tmp_path):
    path = make(tmp_path / "a.clip", format="png")
    content = bytearray(path.read_bytes())
    content[int(PackedClip(path)._pack.offsets[3]) + 50] ^= 1
    path.write_bytes(content)
    clip = PackedClip(path)
    assert np.array_equal(clip[2], frame(2)) and np.array_equal(clip[4], frame(4))
    with pytest.raises(UserError, match="3 does not match"):
        clip[3]


def test_the_person_of_a_clip():
    assert identity_of("id10283/xyz/00001") == "id10283"
    assert identity_of("id10283#xyz#00001#00900") == "id10283"
    assert identity_of("042") == "042"


def test_an_index_of_clips(tmp_path):
    make(tmp_path / "anna" / "v1.clip", 5)
    make(tmp_path / "anna" / "v1.1.clip", 4)
    make(tmp_path / "ünï" / "v2.clip", 3)
    make(tmp_path / "loose.clip", 2, meta={"identity": "anna"})
    (tmp_path / "broken.clip").write_bytes(b"hello")
    make(tmp_path / ".hidden" / "v.clip", 2)
    path, count, left_out = index_folder(tmp_path)
    assert path == tmp_path / INDEX_NAME and count == 4 and list(left_out) == ["broken"]
    index = pickle.loads(pickle.dumps(ClipIndex(tmp_path)))
    assert len(index) == 4 and len(ClipIndex(path)) == 4
    names = [index.name(number) for number in range(4)]
    assert dict(zip(names, index.lengths, strict=True)) == {"anna/v1": 5, "anna/v1.1": 4, "ünï/v2": 3, "loose": 2}
    people = {
        index.identity_name(number): {names[clip] for clip in clips} for number, clips in enumerate(index.clips_of)
    }
    assert people == {"anna": {"anna/v1", "anna/v1.1", "loose"}, "ünï": {"ünï/v2"}}
    assert [len(clip) for clip in index] == index.lengths.tolist()
    with pytest.raises(UserError, match="an index of clips"):
        PackedClip(path)
    with pytest.raises(UserError, match="not an index"):
        ClipIndex(tmp_path / "loose.clip")
    with pytest.raises(UserError, match="pack_frames.py"):
        ClipIndex(tmp_path / "anna")


def test_a_large_index_is_not_read_to_be_opened(tmp_path):
    write_index(tmp_path / INDEX_NAME, (f"id{n // 50:05d}/{n:07d}" for n in range(100_000)), np.full(100_000, 9))
    read = []

    def count(*arguments):
        content = os_pread(*arguments)
        read.append(len(content))
        return content

    os_pread = os.pread
    os.pread = count
    try:
        index = ClipIndex(tmp_path)
    finally:
        os.pread = os_pread
    assert sum(read) < 2000 and index.name(99_999) == "id01999/0099999" and len(index.clips_of) == 2000


@pytest.fixture
def pack_frames(monkeypatch, capfd):
    """Run script/pack_frames.py in this process: status, what it printed, what it complained of."""
    from script import pack_frames as script

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pack_frames.py", *map(str, arguments), "--workers", "0"])
        status = script.main()
        return status, *capfd.readouterr()

    return run


def test_packing_videos_and_folders(tmp_path, pack_frames):
    source, arrays, out = tmp_path / "in", tmp_path / "points", tmp_path / "out"
    with VideoWriter(source / "id1" / "vidéo.mp4", 30) as writer:
        for number in range(9):
            writer.write(frame(number, (64, 96)))
    for number in (0, 1, 2, 10):
        write_image(source / "id2" / "frames" / f"{number}.png", frame(number, (64, 96)))
    points = np.random.default_rng(0).integers(0, 64, (68, 2))
    (arrays / "id2" / "frames").mkdir(parents=True)
    for number in (0, 2, 10):
        text = "\n".join(f"{x},{y}" for x, y in points + number)
        (arrays / "id2" / "frames" / f"{number}.txt").write_text(text)
    (arrays / "id1").mkdir()
    np.savez(arrays / "id1" / "vidéo.npz", truth=np.arange(9))
    (source / "broken.mp4").write_bytes(b"hello")
    (source / "notes.txt").write_text("stray")
    command = ("--in", source, "--arrays", arrays, "--out", out, "--size", "32")
    status, printed, complaints = pack_frames(*command)
    assert status == 0 and "broken.mp4" in complaints and "2 clips in" in printed
    clip = PackedClip(out / "id2" / "frames.clip")
    assert len(clip) == 4 and clip.size == (32, 48) and clip.meta["source_size"] == [64, 96]
    landmarks = clip.arrays["landmarks"]
    assert np.isnan(landmarks[1]).all() and np.allclose(landmarks[3], (points + 10) / 2)
    video = PackedClip(out / "id1" / "vidéo.clip")
    assert len(video) == 9 and video.fps == 30 and np.array_equal(video.arrays["truth"], np.arange(9))
    assert ClipIndex(out).lengths.sum() == 13
    made = {path: path.read_bytes() for path in out.rglob("*.clip*")}
    (out / "id2" / "frames.clip").unlink()
    status, printed, _ = pack_frames(*command)
    assert status == 0 and "1 done before" in printed
    assert {path: path.read_bytes() for path in out.rglob("*.clip*")} == made


def test_packing_reports_problems(tmp_path, pack_frames):
    with pytest.raises(SystemExit, match="2"):
        pack_frames()
    with pytest.raises(UserError, match="absent"):
        pack_frames("--in", tmp_path / "absent", "--out", tmp_path / "out")
    write_image(tmp_path / "in" / "clip" / "0.png", frame(0))
    np.savez(tmp_path / "clip.npz", landmarks=np.zeros((5, 68, 2)))
    status, _, complaints = pack_frames("--in", tmp_path / "in", "--arrays", tmp_path, "--out", tmp_path / "out")
    assert status == 1 and "landmarks of 5" in complaints and not list((tmp_path / "out").glob("*.clip"))


def test_the_benchmark_checks_its_targets():
    """Not the times of this machine, but that they are measured and compared."""
    small = ["--frames", "12", "--rounds", "3", "--clips", "1000", "--size", "64"]
    command = [sys.executable, "script/benchmark.py", "data", *small]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = [line for line in result.stdout.splitlines() if line.startswith(("kept", "MISSED"))]
    assert len(lines) == 3, result.stderr
    assert result.returncode == any(line.startswith("MISSED") for line in lines)
    assert "two packed frames" in lines[0] and "mp4 whole" in lines[1] and "1,000 clips" in lines[2]
