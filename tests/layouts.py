"""Small trees in the layouts of the real datasets, with the pits they have: strays, damaged files, odd names.

Pictures are drawn blobs. Where a test needs faces, `write_points` says where they are (--landmarks file)."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.video import VideoWriter
from data.video.images import save_image

FRAMES = 6


def picture(index: int, size: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    """A frame of a moving bright blob on a slope of colours; any two indices differ."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    blob = 120 * np.exp(-((x - width / 2 - 3 * index) ** 2 + (y - height / 2) ** 2) / (width / 3) ** 2)
    channels = [(x * 2 + 40 * seed) % 256 * 0.4, y * 1.5, np.full_like(x, 10 * index % 120)]
    return np.stack([blob + channel for channel in channels], axis=-1).clip(0, 255).astype(np.uint8)


def points(count: int = FRAMES, missing: Sequence[int] = ()) -> np.ndarray:
    """68 points a frame on a drifting circle; NaN in frames without a face."""
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    circle = np.stack([32 + 14 * np.cos(angles), 24 + 14 * np.sin(angles)], axis=-1)
    drift = np.arange(count)[:, None, None] * [0.5, 0.25]
    found = (circle + drift).astype(np.float32)
    found[list(missing)] = np.nan
    return found


def write_points(path: Path, found: np.ndarray) -> None:
    """Landmarks of a clip as one text, 68 lines a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{x},{y}\n" for x, y in found.reshape(-1, 2)), encoding="utf-8")


def write_frames(folder: Path, names: Sequence[str], seed: int = 0) -> None:
    """A folder of pictures of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        save_image(folder / name, picture(index, seed=seed))


def write_video(
    path: Path, frames: int = FRAMES, size: tuple[int, int] = (48, 64), fps: int = 25, seed: int = 0
) -> None:
    """A video file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(fps), quality=60, comment="drawn for a test") as writer:
        for index in range(frames):
            writer.write(picture(index, size, seed))


def prove_shorter(path: Path) -> int:
    """A video whose index promises a frame more than can be decoded; how many it promises."""
    import av

    random = np.random.default_rng(0)
    with VideoWriter(path, 25) as writer:
        for _ in range(20):
            writer.write(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    place, size = packets[12]
    content = bytearray(path.read_bytes())
    content[place + 4 : place + size] = bytes(size - 4)
    path.write_bytes(content)
    return 20


def damage(path: Path) -> None:
    """Cut a video in the middle: what is left of it has no index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_video(path)
    content = bytearray(path.read_bytes())
    # The index stands first (faststart), so that cutting leaves frames; a scrambled head leaves none.
    content[: len(content) // 2] = bytes(len(content) // 2)
    path.write_bytes(content)


def strays(folder: Path) -> None:
    """Leftovers of file managers and downloads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".DS_Store").write_bytes(b"\0\1")
    (folder / "._000.mp4").write_bytes(b"\0\5\x16\7")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / "README.txt").write_text("not a video")
    (folder / ".hidden").mkdir(exist_ok=True)


def faceforensics(root: Path) -> Path:
    """FaceForensics++: original videos by id with leading zeros, a damaged one, an unlisted one, lists of pairs."""
    videos = root / "original_sequences" / "youtube" / "c23" / "videos"
    for number, name in enumerate(("000", "001", "002", "010", "071", "999")):
        write_video(videos / f"{name}.mp4", seed=number)
    damage(videos / "003.mp4")
    strays(videos)
    strays(root / "original_sequences")
    lists = {
        "train": [["000", "003"], ["003", "000"]],
        "val": [["001", "555"]],
        "test": [["071", "010"], ["002", "071"]],
    }
    (root / "splits").mkdir()
    for phase, pairs in lists.items():
        (root / "splits" / f"{phase}.json").write_text(json.dumps(pairs))
    return root


def frame_folders(root: Path) -> Path:
    """Frames as script/extract_frames.py leaves them, with their points; one video without a face, one with a gap."""
    for phase, name, missing in (
        ("train", "000", ()),
        ("train", "Zoë_截圖", (2,)),
        ("train", "noface", range(FRAMES)),
        ("test", "010", ()),
    ):
        write_frames(root / f"{phase}_data" / name, [f"{index:05d}.png" for index in range(FRAMES)])
        write_points(root / "points" / f"{name}.txt", points(missing=missing))
    strays(root / "train_data")
    strays(root / "train_data" / "000")
    return root


def prior_clips(root: Path) -> Path:
    """Clips of faces in both parts and all forms, with their points; one shows a face late, one never, one is empty."""
    write_frames(root / "train" / "000", [f"{index:05d}.png" for index in range(FRAMES)])
    write_frames(root / "train" / "Zoë_截圖", [f"img{index}.jpg" for index in range(12)])
    write_frames(root / "train" / "noface", ["1.png", "2.png"])
    write_video(root / "test" / "010.mp4")
    (root / "test" / "empty").mkdir()
    strays(root / "train")
    for name, count, missing in (
        ("000", FRAMES, ()),
        ("Zoë_截圖", 12, (0, 1)),
        ("noface", 2, (0, 1)),
        ("010", FRAMES, ()),
    ):
        write_points(root / "points" / f"{name}.txt", points(count, missing))
    return root


def voxceleb2(root: Path) -> Path:
    """VoxCeleb2's clips, <person>/<video>/<clip>.mp4, with an empty one, a damaged one, and one cut short."""
    write_video(root / "id00012" / "21Uxsk56VDQ" / "00001.mp4", frames=7)
    write_video(root / "id00012" / "21Uxsk56VDQ" / "00002.mp4", frames=3)
    write_video(root / "id00012" / "-2k_Zé" / "00010.mp4", frames=2)
    damage(root / "id00012" / "-2k_Zé" / "00011.mp4")
    short = root / "id00012" / "cut" / "00001.mp4"
    write_video(short, frames=60)
    short.write_bytes(short.read_bytes()[: short.stat().st_size * 2 // 3])
    (root / "id00099" / "abc").mkdir(parents=True)
    (root / "id00099" / "abc" / "00001.mp4").touch()
    strays(root)
    strays(root / "id00012")
    return root


def voxceleb1_dense(root: Path) -> Path:
    """VoxCeleb1's archive of frames, with its level 1.6, unpadded and padded numbers, and a video without pictures."""
    person = root / "Zoë_Kravitz" / "1.6"
    for clip, count in (("0000001", 3), ("0000002", 4), ("0000010", 2)):
        write_frames(person / "5y6hWcoe4UQ" / clip, [f"{index:07d}.jpg" for index in range(0, 25 * count, 25)])
    write_frames(person / "short" / "3", ["1.jpg", "2.jpg", "10.jpg"])
    (root / "A.J._Buckley" / "1.6" / "empty" / "0000001").mkdir(parents=True)
    strays(root)
    strays(person)
    strays(person / "short" / "3")
    return root


def voxceleb_text(path: Path, boxes: Sequence[tuple[float, ...]], first: int = 0, *, fractions: bool) -> None:
    """VoxCeleb's box file of a clip: a preamble, a heading, columns with trailing blanks."""
    lines = [f"Identity  : \t{path.parent.parent.name}", f"Reference : \t{path.parent.name}", "Offset    : \t-1"]
    lines += ["FV Conf   : \t18.356\t(1)", "ASD Conf  : \t3.612", "", "FRAME \tX \tY \tW \tH \t"]
    form = "{:.3f}" if fractions else "{:.0f}"
    for index, box in enumerate(boxes, start=first):
        lines.append(f"{index:06d} \t" + "".join(form.format(value) + " \t" for value in box))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")


CODES = [
    # subject, file, onset, apex, offset, units, emotion
    (1, "EP02_01f", 46, 48, 50, "12", "happiness"),
    (1, "EP19_05f ", 2, "/", 4, "4+L10", "disgust"),
    (2, "EP02_01f", 1, 2, 3, "1+2", "surprise"),
    (2, "EP03_99", 1, 2, 3, "4", "repression"),
    (11, "EP01_02", 7, 5, 3, "4", "others"),
]


def casme2(root: Path) -> Path:
    """CASME II: unpadded frame numbers, subjects as numbers, blank columns, a missing folder, an impossible onset."""
    from openpyxl import Workbook

    write_frames(root / "CASME2-RAW" / "sub01" / "EP02_01f", [f"img{index}.jpg" for index in range(44, 53)])
    write_frames(root / "CASME2-RAW" / "sub01" / "EP19_05f", [f"img{index}.jpg" for index in (1, 2, 4, 5)])
    write_frames(root / "CASME2-RAW" / "sub02" / "EP02_01f", [f"img{index}.jpg" for index in range(1, 12)], seed=1)
    write_frames(root / "CASME2-RAW" / "sub11" / "EP01_02", [f"img{index}.jpg" for index in range(1, 9)], seed=2)
    strays(root / "CASME2-RAW" / "sub01")
    book = Workbook()
    book.active.append(
        [
            "Subject",
            "Filename",
            None,
            "OnsetFrame",
            "ApexFrame",
            "OffsetFrame",
            None,
            "Action Units",
            "Estimated Emotion",
        ]
    )
    for subject, file, onset, apex, offset, units, emotion in CODES:
        book.active.append([subject, file, None, onset, apex, offset, None, units, emotion])
    book.active.append([])
    book.save(root / "CASME2-coding-20140508.xlsx")
    (root / "~$CASME2-coding-20140508.xlsx").write_bytes(b"lock")
    return root


def samm(root: Path) -> Path:
    """SAMM: subjects and names as zero padded texts, padded frame numbers, 13 lines above the table's heading."""
    from openpyxl import Workbook

    for subject, name, first in (("006", "006_1_2", 562), ("007", "007_7_1", 1), ("011", "011_2_1", 10)):
        names = [f"{subject}_{index:05d}.jpg" for index in range(first, first + 6)]
        write_frames(root / subject / name, names, seed=int(subject))
    book = Workbook()
    for line in range(13):
        book.active.append(["SAMM Micro-movements" if line == 0 else None, "Subject details" if line == 5 else None])
    heading = [
        "Subject",
        "Filename",
        "Inducement Code",
        "Onset Frame",
        "Apex Frame",
        "Offset Frame",
        "Duration",
        "Micro",
    ]
    book.active.append([*heading, "Action Units", "Estimated Emotion", "Objective Classes", "Notes"])
    book.active.append(["006", "006_1_2", 1, 563, 565, 566, 4, "Micro", "AU12", "Happiness", 1, None])
    book.active.append(["007", "007_7_1", 7, 1, 3, 6, 6, "Micro", "AU1+AU2", "Surprise", 2, None])
    book.active.append(["011", "011_2_1", 2, 100, 103, 106, 7, "Micro", "AU4", "Anger", 3, "frames of another clip"])
    book.save(root / "SAMM_Micro_FACS_Codes_v2.xlsx")
    return root


def smic(root: Path) -> Path:
    """SMIC-HS: emotion in the folders, no table; micro and other clips side by side."""
    for subject, emotion, name in (
        ("s1", "negative", "s1_ne_01"),
        ("s1", "surprise", "s1_sur_02"),
        ("s3", "positive", "s3_po_05"),
        ("s11", "negative", "s11_ne_02"),
    ):
        folder = root / "HS" / subject / "micro" / emotion / name
        write_frames(folder, [f"reg_image{index}.bmp" for index in range(98, 103)])
    write_frames(root / "HS" / "s1" / "non_micro" / "s1_non_01", ["image1.bmp"])
    strays(root / "HS" / "s1" / "micro" / "negative")
    return root
