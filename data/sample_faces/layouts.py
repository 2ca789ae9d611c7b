"""The same clips in the folders that each family of models reads (docs/sample.md shows the tree)."""

import csv
import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.sample_faces.clips import Truth
from data.sample_faces.expression import AU_NAMES
from data.sample_faces.performance import MICRO
from util.errors import UserError
from util.files import replacing, write_text

UNIT_SIZE = 128  # of the pictures for GANimation
UNIT_EVERY = 3  # frames between them
SHOTS = 20  # frames a clip for talking heads, as VoxCeleb2 is sampled
SHORT = 20  # frames of a short clip
SHORT_SIZE = 128  # of its pictures
SHORT_WIDEN = 1.1  # side of their square, in sides of the face's box
BONE = (
    27,
    28,
    29,
    30,
    36,
    39,
    42,
    45,
)  # landmarks that expressions do not move: bridge of the nose, corners of the eyes


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write an RGB picture whole or not at all; the suffix selects the format."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 4]
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise UserError(f"{path}: OpenCV could not encode the picture")
    path.parent.mkdir(parents=True, exist_ok=True)
    # No temporary file each: a clip counts as done only when its truth exists, and that is written last.
    path.write_bytes(data.tobytes())


def frames_and_keypoints(root: Path, split: str, name: str, frames: np.ndarray, truth: Truth) -> None:
    """<split>_data/<clip>/<frame>.jpg and <split>_keypoints/<clip>/<frame>.txt, 68 lines "x,y" in whole pixels."""
    folder = root / f"{split}_keypoints" / name
    folder.mkdir(parents=True, exist_ok=True)
    for k, (frame, points) in enumerate(zip(frames, truth.landmarks, strict=True)):
        write_picture(root / f"{split}_data" / name / f"{k:05d}.jpg", frame)
        lines = [f"{x},{y}\n" for x, y in np.rint(points).astype(int)]
        (folder / f"{k:05d}.txt").write_text("".join(lines), encoding="utf-8")


def face_square(box: np.ndarray, widen: float = 1.35) -> tuple[np.ndarray, float]:
    """Centre and side of the square around a face, brows to chin and some more."""
    left, top, right, bottom = (float(value) for value in box)
    side = widen * max(right - left, bottom - top)
    return np.array([(left + right) / 2, (top + bottom) / 2 - 0.05 * side]), side


def cut_square(
    image: np.ndarray, centre: np.ndarray, side: float, size: int, moved: np.ndarray | None = None
) -> np.ndarray:
    """A square of a picture, resized; beyond the picture its edge is repeated.

    `moved` (2, 3) tells where in this picture the square's pixels are, instead of where they are in another one.
    """
    finer = max(1, round(side / size))  # downsample strongly in two steps, against flicker
    zoom, half = finer * size / side, (finer * size - 1) / 2
    matrix = np.array([[zoom, 0, half - zoom * centre[0]], [0, zoom, half - zoom * centre[1]]])
    if moved is not None:
        back = cv2.invertAffineTransform(moved)
        matrix = matrix[:, :2] @ back + np.column_stack([np.zeros((2, 2)), matrix[:, 2]])
    cut = cv2.warpAffine(
        image, matrix, (finer * size, finer * size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA) if finer > 1 else cut


def unit_frames(count: int) -> range:
    """The frames of a clip that become pictures of the action units' layout."""
    return range(0, count, UNIT_EVERY)


def unit_pictures(root: Path, name: str, frames: np.ndarray, truth: Truth) -> None:
    """imgs/<clip>_<frame>.jpg, aligned faces, and openface/<clip>_<frame>.csv as FaceLandmarkImg -aus writes them."""
    (root / "openface").mkdir(parents=True, exist_ok=True)
    for k in unit_frames(len(frames)):
        centre, side = face_square(truth.box[k])
        write_picture(root / "imgs" / f"{name}_{k:05d}.jpg", cut_square(frames[k], centre, side, UNIT_SIZE))
        (root / "openface" / f"{name}_{k:05d}.csv").write_text(openface_csv(truth.performance.aus[k]), encoding="utf-8")


def openface_csv(aus: Sequence[float]) -> str:
    """One picture's units as OpenFace 2.0 writes them: intensities, then presence with AU28, blank after commas."""
    presence = sorted([*AU_NAMES, "AU28"])
    header = ["face", "confidence", *(f"{name}_r" for name in AU_NAMES), *(f"{name}_c" for name in presence)]
    level = dict(zip(AU_NAMES, aus, strict=True))
    row = ["0", "0.980", *(f"{level[name]:.2f}" for name in AU_NAMES)]
    row += [f"{float(level.get(name, 0.0) >= 1.0):.1f}" for name in presence]
    return f"{', '.join(header)}\n{', '.join(row)}\n"


def unit_tables(root: Path, clips: dict[str, list[tuple[str, Truth]]]) -> None:
    """aus_openface.pkl (and the same as aus.npz), train_ids.csv and test_ids.csv."""
    units = {}
    for split, members in clips.items():
        names = [(name, truth, k) for name, truth in members for k in unit_frames(len(truth))]
        write_text(root / f"{split}_ids.csv", "".join(f"{name}_{k:05d}.jpg\n" for name, _, k in names))
        units.update(
            {f"{name}_{k:05d}": np.round(truth.performance.aus[k].astype(np.float64), 2) for name, truth, k in names}
        )
    with replacing(root / "aus_openface.pkl") as temporary:
        temporary.write_bytes(pickle.dumps(units, protocol=2))
    with replacing(root / "aus.npz") as temporary:
        np.savez(
            temporary, names=np.array(list(units)), aus=np.array(list(units.values())), au_names=np.array(AU_NAMES)
        )


def talking_head(root: Path, split: str, person: str, clip: int, frames: np.ndarray, truth: Truth) -> None:
    """Sampled frames with metadata.npz, in <split>/<person>/<video>/ and with one more level for the clip in clips/."""
    count = len(frames)
    chosen = sorted({round(k * (count - 1) / (SHOTS - 1)) for k in range(SHOTS)})
    video = f"video{clip:02d}"
    sampled, whole = root / split / person / video, root / "clips" / split / person / video / "00001"
    names = [f"00001_{k:04d}.jpg" for k in chosen]
    for k, name in zip(chosen, names, strict=True):
        write_picture(sampled / name, frames[k])
        write_picture(whole / f"{k:04d}.jpg", frames[k])
    points = truth.landmarks[chosen].astype(np.float32)
    with replacing(sampled / "metadata.npz") as temporary:
        np.savez(temporary, names=np.array(names), landmarks=points, size=truth.size, frames=len(names))
    with replacing(whole / "metadata.npz") as temporary:
        np.savez(
            temporary,
            names=np.array([f"{k:04d}.jpg" for k in chosen]),
            landmarks=points,
            size=truth.size,
            frames=len(names),
        )


def short_clips(root: Path, split: str, name: str, frames: np.ndarray, truth: Truth) -> None:
    """<split>/<clip>_<first frame>/<frame>.png: parts of a clip, cut to the face, which stays where it begins."""
    for first in range(0, len(frames) - SHORT + 1, SHORT):
        centre, side = face_square(truth.box[first], SHORT_WIDEN)
        cut = [
            cut_square(frames[k], centre, side, SHORT_SIZE, similarity(truth.points[first], truth.points[k]))
            for k in range(first, first + SHORT)
        ]
        micro_frames(root, split, f"{name}_{first:03d}", np.stack(cut))


def similarity(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that maps a face's rigid points to those of others, x and y in pixels."""
    here, there = (some[list(BONE), :2].astype(np.float64) for some in (points, others))
    middle, target = here.mean(0), there.mean(0)
    # With complex numbers, rotation and scale are one factor.
    arms, ends = (here - middle) @ (1, 1j), (there - target) @ (1, 1j)
    factor = np.vdot(arms, ends) / np.vdot(arms, arms)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, target - linear @ middle])


def micro_frames(root: Path, split: str, name: str, frames: np.ndarray) -> None:
    """<split>/<clip>/<frame>.png."""
    for k, frame in enumerate(frames):
        write_picture(root / split / name / f"{k:05d}.png", frame)


def micro_tables(root: Path, rows: list[dict]) -> None:
    """coding.csv with CASME II's headings, clips.csv as prepare_microexpression.py writes it, and pairs.csv.

    A row has name, split, subject, kind, frames, onset, apex, offset; frames are numbered from 0 like the files.
    """
    coding = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]]
    heads = [
        "name",
        "split",
        "dataset",
        "subject",
        "emotion",
        "class",
        "action_units",
        "frames",
        "onset",
        "apex",
        "offset",
    ]
    clips = [heads]
    emotions = {"positive": "happiness", "negative": "repression", "surprise": "surprise"}
    for row in rows:
        kind = row["kind"]
        units = "+".join(str(int(name[2:])) for name in MICRO[kind])
        marks = [row["onset"], row["apex"], row["offset"]]
        coding.append([row["subject"], row["name"], *marks, units, emotions[kind]])
        clips.append(
            [row["name"], row["split"], "sample", row["subject"], emotions[kind], kind, units, row["frames"], *marks]
        )
    tests = [row for row in rows if row["split"] == "test"]
    pairs = [["distance", "source", "driving", "frame"]]
    pairs += [[0, a["name"], b["name"], 0] for a in tests for b in tests if a["subject"] != b["subject"]]
    for name, table in (("coding.csv", coding), ("clips.csv", clips), ("pairs.csv", pairs)):
        with replacing(root / name) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
