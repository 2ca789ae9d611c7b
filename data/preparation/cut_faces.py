"""Write the face clips of one video, with their crop boxes, landmarks, a report and a preview."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.faces.detector import Detector
from data.faces.trajectories import SEARCH_EVERY, follow
from data.preparation.face_clips import CropSettings, Proposal, contact_sheet, propose, sheet_frames
from data.video import Video, VideoWriter, open_video
from data.video.images import write_image
from data.video.packed import pack
from util.errors import UserError
from util.files import replacing, write_text

FORMATS = ("mp4", "png", "clip")


@dataclass(frozen=True)
class Output:
    """Where and how the clips of a video are written."""

    folder: Path
    size: tuple[int, int] | None = (256, 256)  # (height, width); None: as large as in the video
    format: str = "mp4"
    quality: int = 95
    sound: bool = False
    preview: bool = False

    def report(self, name: str) -> Path:
        """The report of a video, written last: it marks the video as done."""
        return self.folder / "reports" / f"{name}.json"


def cut_faces(
    path: Path,
    name: str,
    detector: Detector,
    settings: CropSettings,
    output: Output,
    *,
    fps: Fraction | None = None,
    search_every: int = SEARCH_EVERY,
) -> list[dict]:
    """Cut the faces of one video into clips <name>#<first frame>#<frame after the last>; return the report's rows.

    Raises UserError, with the reasons, if there is no clip to keep.
    """
    with open_video(path, fps=fps) as video:
        found = follow(video, detector.clip(name), search_every=search_every)
        proposals = propose(found, settings, fps=float(video.fps), video=path.name)
        if output.preview and found.frames:
            frames = ((index, video[index]) for index in sheet_frames(found.frames))
            write_image(output.folder / "previews" / f"{name}.jpg", contact_sheet(frames, proposals))
        rows = [_row(name, one) for one in proposals]
        for one, row in zip(proposals, rows, strict=True):
            if not one.reason:
                _write_clip(video, path, one, row["clip"], output)
    write_text(output.report(name), json.dumps({"video": path.name, "frames": found.frames, "faces": rows}) + "\n")
    if not any(row["kept"] for row in rows):
        reasons = "; ".join(row["reason"] for row in rows) or "no face in any frame (--preview shows frames of it)"
        raise UserError(f"{path}: no face clip: {reasons}")
    return rows


def _row(name: str, one: Proposal) -> dict:
    """The report's row of a face."""
    end = one.crop.first + one.crop.count
    seen = ~np.isnan(one.points).any((1, 2))
    box = np.round(one.crop.boxes.mean(0)).astype(int).tolist()
    return {
        "clip": f"{name}#{one.crop.first:06d}#{end:06d}",
        "kept": not one.reason,
        "reason": one.reason,
        "first": one.crop.first,
        "frames": one.crop.count,
        "frames_with_face": int(seen.sum()),
        **dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
    }


def _write_clip(video: Video, path: Path, one: Proposal, clip: str, output: Output) -> None:
    crop, size = one.crop, output.size or one.crop.size()
    points = np.stack([crop.points_inside(each, size, index) for index, each in enumerate(one.points)])
    frames = (crop.apply(video[crop.first + index], size, index) for index in range(crop.count))
    target = output.folder / clip
    if output.format == "clip":
        meta = {"crop": asdict(crop) | {"boxes": crop.boxes.tolist()}}
        pack(target.with_name(f"{clip}.clip"), frames, fps=video.fps, arrays={"landmarks": points}, meta=meta)
    else:
        _write_video(frames, video, path, crop, target, output)
        with replacing(target.with_name(f"{clip}.npz")) as temporary:
            np.savez_compressed(temporary, points=points)
    crop.save(target.with_name(f"{clip}.crop.json"))


def _write_video(frames: Iterator[np.ndarray], video: Video, path: Path, crop, target: Path, output: Output) -> None:
    file = target.with_name(f"{target.name}.mp4") if output.format == "mp4" else target
    sound = {"audio": path, "audio_start": crop.first / video.fps} if output.sound and video.has_audio else {}
    comment = f"cut out of {path.name} by script/crop_faces.py"
    with VideoWriter(file, video.fps, quality=output.quality, comment=comment, **sound) as writer:
        for frame in frames:
            writer.write(frame)
