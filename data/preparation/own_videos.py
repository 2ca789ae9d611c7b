"""Turns a video of a person into training data for every family: face clips with landmarks, in each family's layout."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.faces.crop import UNIT_WIDEN, Crop, cut, points_box
from data.faces.detector import Detector
from data.faces.portrait_annotations import annotation_arrays
from data.faces.portrait_crop import SOURCE, common_square
from data.faces.tracking import Status, Track, fill, smooth_track
from data.faces.trajectories import follow
from data.preparation.face_clips import CropSettings, Proposal, contact_sheet, propose, sheet_frames
from data.video import Video, open_steady, thin
from data.video.images import save_image, write_image
from data.video.packed import SUFFIX, PackedClip, pack
from data.video.reader import RATE_TEXT
from util.errors import UserError
from util.files import replacing_folder, write_text

LAYOUTS = ("face", "talking_head", "ganimation", "portraits")
SHOTS = 20  # frames of a clip for talking heads, as many as VoxCeleb2 is sampled to
SHOT_SIZE = 256
UNIT_SIZE = 128  # of GANimation's pictures
UNIT_SECONDS = 0.5  # between them
PORTRAIT_SIZE = 512  # LivePortrait's results


@dataclass(frozen=True)
class Source:
    """A video, its person, and its split of the data."""

    path: Path
    name: str
    person: str
    split: str


@dataclass(frozen=True)
class FaceClip:
    """A clip of one face, from which each layout is made."""

    name: str
    packed: PackedClip
    source: Source
    out: Path
    video: Video
    crop: Crop
    points: np.ndarray
    """(N, 68, 2) in pixels of the video, without gaps as far as the settings fill them."""


@dataclass(frozen=True)
class Settings:
    """How videos become clips."""

    out: Path
    crop: CropSettings
    size: int
    fps: Fraction | None
    layouts: tuple[str, ...]
    on_missing: str
    smooth: float
    search_every: int
    preview: bool

    def report(self, source: Source) -> Path:
        """The report of a video, written last: it marks the video as done."""
        return self.out / "reports" / f"{source.name}.json"

    def outputs(self, source: Source) -> list[Path]:
        """The report, the preview, and the paths of the clips, which have their video's name as a prefix."""
        split = source.split
        folders = [split, f"{split}_data", f"{split}_keypoints", f"ganimation/{split}_pictures", f"portraits/{split}"]
        clips = [self.out / folder / source.name for folder in [*folders, f"talking_head/{split}/{source.person}"]]
        return [self.report(source), self.out / "previews" / f"{source.name}.jpg", *clips]


def prepare(source: Source, detector: Detector, settings: Settings) -> list[dict]:
    """Write all clips of one video; return the rows of its report, dropped faces among them."""
    with open_steady(source.path, settings.fps) as video:
        found = follow(video, detector.clip(source.name), search_every=settings.search_every)
        proposals = propose(found, settings.crop, fps=float(video.fps), video=source.path.name)
        if settings.preview and found.frames:
            frames = [(index, video[index]) for index in sheet_frames(found.frames)]
            write_image(settings.out / "previews" / f"{source.name}.jpg", contact_sheet(frames, proposals))
        rows = [_write(video, one, source, settings) for one in proposals]
    if not any(row["kept"] for row in rows):
        reasons = "; ".join(row["reason"] for row in rows) or "no face in any frame (--preview shows some of them)"
        raise UserError(f"{source.path}: no face clip: {reasons}")
    write_text(settings.report(source), json.dumps({"split": source.split, "clips": rows}) + "\n")
    return rows


def _write(video: Video, one: Proposal, source: Source, settings: Settings) -> dict:
    """Write one face's clip in every layout; its row of the report."""
    crop, end = one.crop, one.crop.first + one.crop.count
    clip = f"{source.name}#{crop.first:06d}#{end:06d}"
    seen = int((~np.isnan(one.points).any((1, 2))).sum())
    row = {"clip": clip, "split": source.split, "video": str(source.path), "kept": not one.reason, "reason": one.reason}
    row |= {"first": crop.first, "frames": crop.count, "frames_with_face": seen}
    if one.reason:
        return row
    size = (settings.size, settings.size)
    whole = completed(one.points, video.fps, settings, clip)
    points = np.stack([crop.points_inside(each, size, index) for index, each in enumerate(whole)])
    path = settings.out / source.split / f"{clip}{SUFFIX}"
    frames = (crop.apply(video[crop.first + index], size, index) for index in range(crop.count))
    pack(path, frames, fps=video.fps, arrays={"landmarks": points}, meta=_meta(crop, source))
    made = FaceClip(clip, PackedClip(path), source, settings.out, video, crop, whole)
    for layout in settings.layouts:
        WRITERS[layout](made)
    return row


def _meta(crop: Crop, source: Source) -> dict:
    square = {"boxes": np.round(crop.boxes, 3).tolist(), "frame_size": list(crop.frame_size)}
    return {"identity": source.person, "crop": square | {"first": crop.first, "count": crop.count, "video": crop.video}}


def completed(points: np.ndarray, fps: Fraction, settings: Settings, name: str) -> np.ndarray:
    """A face's points with the gaps filled and smoothed, as the settings say."""
    count = len(points)
    status = np.where(np.isnan(points).any((1, 2)), Status.MISSING, Status.DETECTED).astype(np.uint8)
    nothing = np.zeros((count, 4), np.float32), np.zeros(count, np.float32)
    face = Track(points.astype(np.float32), *nothing, status=status, person=np.zeros(count, np.int32), name=name)
    if settings.smooth:
        smooth_track(face, settings.smooth, float(fps))
    fill(face, settings.on_missing)
    return face.points


def _with_points(packed: PackedClip, indices: Iterable[int]) -> list[int]:
    points = packed.arrays["landmarks"]
    return [index for index in indices if not np.isnan(points[index]).any()]


def write_face(made: FaceClip) -> None:
    """<split>_data/<clip>/<frame>.png and <split>_keypoints/<clip>/<frame>.txt."""
    packed, split = made.packed, made.source.split
    points = packed.arrays["landmarks"]
    with replacing_folder(made.out / f"{split}_data" / made.name) as folder:
        for index, frame in enumerate(packed):
            save_image(folder / f"{index:05d}.png", frame, text={RATE_TEXT: str(packed.fps)})
    with replacing_folder(made.out / f"{split}_keypoints" / made.name) as folder:
        for index in _with_points(packed, range(len(packed))):
            lines = [f"{x},{y}\n" for x, y in np.rint(points[index]).astype(int)]
            (folder / f"{index:05d}.txt").write_text("".join(lines), encoding="utf-8")


def write_talking_head(made: FaceClip) -> None:
    """talking_head/<split>/<person>/<clip>/<frame>.jpg with metadata.npz, as script/extract_landmarks.py writes it."""
    packed, source = made.packed, made.source
    chosen = _with_points(packed, thin(len(packed), SHOTS))
    points = packed.arrays["landmarks"][chosen] * (SHOT_SIZE / packed.size[0])
    names = [f"{index:05d}.jpg" for index in chosen]
    with replacing_folder(made.out / "talking_head" / source.split / source.person / made.name) as folder:
        for index, name in zip(chosen, names, strict=True):
            save_image(folder / name, packed[index])
        arrays = {"names": np.array(names), "landmarks": points.astype(np.float32)}
        np.savez(folder / "metadata.npz", **arrays, size=SHOT_SIZE, frames=len(chosen))


def write_ganimation(made: FaceClip) -> None:
    """ganimation/<split>_pictures/<clip>/<clip>_<frame>.jpg, which gather_ganimation brings together."""
    packed = made.packed
    step = max(1, round(UNIT_SECONDS * float(packed.fps)))
    with replacing_folder(made.out / "ganimation" / f"{made.source.split}_pictures" / made.name) as folder:
        for index in _with_points(packed, range(0, len(packed), step)):
            box = points_box(packed.arrays["landmarks"][index])
            centre, side = (box[:2] + box[2:]) / 2, UNIT_WIDEN * (box[2:] - box[:2]).max()
            square = np.concatenate([centre - side / 2, centre + side / 2])
            name = f"{made.name.replace('#', '_')}_{index:05d}.jpg"
            save_image(folder / name, cut(packed[index], square, UNIT_SIZE))


def write_portraits(made: FaceClip) -> None:
    """portraits/<split>/<clip>.clip: one upright square of LivePortrait's size for all frames, with annotations."""
    seen = made.points[~np.isnan(made.points).any((1, 2))]
    square = common_square(seen, SOURCE["scale"], SOURCE["shift"])
    matrix = square.matrix(PORTRAIT_SIZE)
    points = made.points @ matrix[:, :2].T + matrix[:, 2]
    frames = (square.cut(made.video[made.crop.first + index], PORTRAIT_SIZE) for index in range(made.crop.count))
    pack(
        made.out / "portraits" / made.source.split / f"{made.name}{SUFFIX}", frames, fps=made.video.fps,
        arrays=annotation_arrays(points, (PORTRAIT_SIZE, PORTRAIT_SIZE)), meta={"identity": made.source.person},
    )  # fmt: skip


WRITERS = {
    "face": write_face,
    "talking_head": write_talking_head,
    "ganimation": write_ganimation,
    "portraits": write_portraits,
}


def gather_ganimation(root: Path) -> int:
    """Link the pictures of all clips into imgs/ and list them in train_ids.csv and test_ids.csv; return the count."""
    pictures = {part: sorted((root / f"{part}_pictures").glob("[!.]*/*.jpg")) for part in ("train", "test")}
    with replacing_folder(root / "imgs") as images:
        for picture in pictures["train"] + pictures["test"]:
            _link(picture, images / picture.name)
    for part, files in pictures.items():
        write_text(root / f"{part}_ids.csv", "".join(f"{picture.name}\n" for picture in files))
    return sum(map(len, pictures.values()))


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        # Not all file systems have links.
        shutil.copyfile(source, target)
