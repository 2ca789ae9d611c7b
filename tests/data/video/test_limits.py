"""Pictures and videos that claim more than they may, or are something else than they are called."""

import os
import stat
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from script_runner import ScriptRunner

from data.preparation.jobs import add_options
from data.video import VideoWriter, open_video, read_image, write_image
from data.video.clip_index import INDEX_NAME, ClipIndex, write_index
from data.video.limits import VARIABLE, limit_pixels, max_pixels
from data.video.packed import PackedClip, claimed_size, pack
from data.video.packed_file import write_packed
from options import parse
from util.errors import UserError


@pytest.fixture(autouse=True)
def no_limit_outlives_its_test(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")


def picture(side=16):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def huge_webp() -> bytes:
    side = (16_383).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side + b"VP8L" + struct.pack("<I", 8) + bytes(8)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def huge_bmp() -> bytes:
    return (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 154, 0, 54, 40, 20_000, 20_000, 1, 24, 0, 100, 0, 0, 0, 0) + bytes(100)
    )


def huge_gif() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 16_000, 16_000, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame + frame + b";"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", huge_png()),
        ("b.webp", huge_webp()),
        ("c.bmp", huge_bmp()),
        ("d.jpg", huge_gif()),
        ("e.gif", huge_gif()),
    ],
)
def test_huge_canvases_are_refused_by_their_headers(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"{name}: claims \d+ x \d+ pixels, more than the limit of 100,000,000.*--max_pixels"
    ):
        open_video(tmp_path / name)


def test_the_limit_is_an_option_of_all_commands(tmp_path):
    import argparse

    write_image(tmp_path / "a.png", picture())
    with VideoWriter(tmp_path / "b.mp4", 25) as video:
        video.write(picture())
    for training in (True, False):
        assert parse(["--model=fomm", "--max_pixels=200"], training=training).max_pixels == 200
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.parse_args(["--max_pixels", "200"])
    assert max_pixels() == 200 and os.environ[VARIABLE] == "200"  # so that worker processes have it
    for name in ("a.png", "b.mp4"):
        with pytest.raises(UserError, match=f"{name}: claims 16 x 16 pixels, more than the limit of 200"):
            open_video(tmp_path / name)
    limit_pixels(256)
    assert read_image(tmp_path / "a.png").shape == (16, 16, 3) and len(open_video(tmp_path / "b.mp4")) == 1
    os.environ[VARIABLE] = "many"
    with pytest.raises(UserError, match=f"{VARIABLE}=many"):
        read_image(tmp_path / "a.png")


def test_scripts_refuse_what_is_too_large(tmp_path):
    with VideoWriter(tmp_path / "videos" / "b.mp4", 25) as video:
        video.write(picture())
    with ScriptRunner() as scripts:
        status, output = scripts.run(
            "extract_frames", "--in", "videos", "--out", "out", "--workers", 1, "--max_pixels", 200, folder=tmp_path
        )
    assert status and "more than the limit of 200" in output


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    """PostScript that is called .png; Pillow has Ghostscript draw it."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(UserError, match="a.png: .*not a picture"):
        read_image(tmp_path / "a.png")
    assert not (tmp_path / "started").exists()


def test_damage_of_a_png_is_never_shown(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, picture(), text={"fps": "25"})
    whole = path.read_bytes()
    for place in range(8, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(UserError, match="a.png: cannot be read"):
            read_image(path)


def test_pictures_of_large_parts_are_laid_on_white(tmp_path):
    rgba = np.dstack([np.full((600, 3, 3), 100, np.uint8), np.zeros((600, 3), np.uint8)])
    rgba[300:, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:300] == 255).all() and (read[300:] == 100).all()


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_frames_of_a_packed_clip_claim_the_clips_size(tmp_path, format):
    frames = [picture()] * 2
    pack(tmp_path / "a.clip", frames, fps=25, format=format)
    record = PackedClip(tmp_path / "a.clip")._pack.record(0)
    assert claimed_size(record) == (16, 16)
    text = {"fps": "25", "size": [8, 8], "format": format, "meta": {}}
    write_packed(tmp_path / "b.clip", [record], lambda: text, {})
    with pytest.raises(UserError, match=r"b.clip: frame 0: .*claims the size \(16, 16\) in a clip of \(8, 8\)"):
        PackedClip(tmp_path / "b.clip")[0]
    write_packed(tmp_path / "c.clip", [record], lambda: text | {"size": [20_000, 20_000]}, {})
    with pytest.raises(UserError, match="c.clip: claims 20000 x 20000"):
        PackedClip(tmp_path / "c.clip")
    write_packed(tmp_path / "d.clip", [b"GIF89a" + bytes(20)], lambda: text, {})
    with pytest.raises(UserError, match="d.clip: frame 0"):
        PackedClip(tmp_path / "d.clip")[0]


def test_damage_of_an_index_of_clips_is_never_used(tmp_path):
    path = tmp_path / INDEX_NAME
    write_index(path, ["a/1", "a/2", "b/1"], [3, 4, 5])
    whole = path.read_bytes()
    known = ClipIndex(path)
    expected = known.lengths.tolist(), [known.name(k) for k in range(3)], known.identities.tolist()
    for place in range(64, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = ClipIndex(path)
        except UserError:
            continue
        # What fills up to where an array begins is not read.
        assert (read.lengths.tolist(), [read.name(k) for k in range(3)], read.identities.tolist()) == expected, place


def test_an_index_whose_arrays_contradict_each_other_is_refused(tmp_path):
    arrays = {
        "lengths": np.array([3], "<u4"), "identities": np.array([2**32 - 1], "<u4"), "names": np.zeros(1, np.uint8),
        "places": np.array([0, 1], "<u8"), "identity_names": np.zeros(1, np.uint8),
        "identity_places": np.array([0, 1], "<u8"),
    }  # fmt: skip
    write_packed(tmp_path / INDEX_NAME, (), lambda: {"kind": "index"}, arrays)
    with pytest.raises(UserError, match="are inconsistent"):
        ClipIndex(tmp_path)


@pytest.mark.parametrize("rate", ["x", "0", "99999999999"])
def test_an_odd_rate_is_reported_with_its_file(tmp_path, rate):
    frame = np.zeros((8, 8, 3), np.uint8)
    write_image(tmp_path / "a.png", frame, text={"fps": rate})
    text = {"fps": rate, "size": [8, 8], "format": "png", "meta": {}}
    write_packed(tmp_path / "b.clip", [], lambda: text, {})
    (tmp_path / "c").mkdir()
    write_image(tmp_path / "c" / "0.png", frame, text={"fps": rate})
    for name, file in (("a.png", "a.png"), ("b.clip", "b.clip"), ("c", "c/0.png")):
        with pytest.raises(UserError, match=f"{file}: damaged: "):
            open_video(tmp_path / name)
