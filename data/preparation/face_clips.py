"""From a video to clips of single faces: proposes crops, gives reasons for dropped ones, and draws a contact sheet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.faces.crop import Crop, points_box, resize, square_around
from data.faces.detector import box_size
from data.faces.trajectories import Trajectories, Trajectory
from data.preparation.fomm_crop import INCREASE, IOU_WITH_INITIAL, MIN_FRAMES, box_trajectories, widened

METHODS = ("fixed", "fomm", "follow")
# A fixed square ends, and a new one starts, where the face would shrink below this share of its own square's scale.
SMALLEST_SHARE = 0.5
# Seconds over which a following crop averages the position and the size of the face.
POSITION_SECONDS, SIZE_SECONDS = 0.4, 1.0


@dataclass(frozen=True)
class CropSettings:
    """Crop settings; None: the method's default."""

    method: str = "fixed"
    margin: float = 0.5  # of the face's size, around all of its positions (fixed, follow)
    min_frames: int | None = None
    min_size: int = 96  # of the crop, in pixels of the video
    increase: float = INCREASE  # fomm: of the box
    iou_with_initial: float = IOU_WITH_INITIAL  # fomm

    @property
    def frames_needed(self) -> int:
        """The shortest clip worth keeping."""
        if self.min_frames is not None:
            return self.min_frames
        return MIN_FRAMES if self.method == "fomm" else 25


@dataclass(frozen=True, eq=False)
class Proposal:
    """A crop, the boxes and points of its face, and why it is dropped (empty: it is not)."""

    crop: Crop
    points: np.ndarray  # (count, 68, 2), NaN where the face was not seen
    reason: str = ""


def propose(found: Trajectories, settings: CropSettings, *, fps: float = 25, video: str = "") -> list[Proposal]:
    """All crops of a video's faces, by first frame, each with the reason to drop it, if any."""
    if settings.method == "fomm":
        crops = _fomm(found, settings)
    elif settings.method == "follow":
        crops = [_following(found, person, settings, fps) for person in found.people]
    else:
        crops = [crop for person in found.people for crop in _fixed(found, person, settings)]
    proposals = [
        Proposal(replace(crop, video=video), points, _reason_against(crop, settings)) for crop, points in crops
    ]
    return sorted(proposals, key=lambda one: one.crop.first)


def _reason_against(crop: Crop, settings: CropSettings) -> str:
    # The protocol excludes the last frame and requires more than the minimum.
    short = crop.count <= settings.frames_needed if settings.method == "fomm" else crop.count < settings.frames_needed
    if short:
        return f"only {crop.count} frames (--min_frames {settings.frames_needed})"
    side = int(min(box_size(box) for box in crop.boxes))
    if side < settings.min_size:
        return f"only {side} pixels large (--min_size {settings.min_size})"
    return ""


def _points_of(person: Trajectory, first: int, count: int) -> np.ndarray:
    points = np.full((count, 68, 2), np.nan, np.float32)
    for index, face in person.faces.items():
        if first <= index < first + count:
            points[index - first] = face.points
    return points


def _fixed(found: Trajectories, person: Trajectory, settings: CropSettings):
    """One square for each stretch of a trajectory over which the face fills enough of it."""
    indices = sorted(person.faces)
    start = 0
    while start < len(indices):
        end = _stretch(person, indices, start, settings.margin)
        faces = [person.faces[index] for index in indices[start:end]]
        union = points_box(np.stack([face.points for face in faces]))
        size = float(np.median([box_size(points_box(face.points)) for face in faces]))
        box = square_around(union, size, found.frame_size, settings.margin)
        first, count = indices[start], indices[end - 1] - indices[start] + 1
        yield Crop(box[None], found.frame_size, first, count), _points_of(person, first, count)
        start = end


def _stretch(person, indices, start, margin) -> int:
    """End index of the stretch that starts at `start`: one more frame would make its square too large for some face."""
    union, smallest = points_box(person.faces[indices[start]].points), np.inf
    for number in range(start, len(indices)):
        box = points_box(person.faces[indices[number]].points)
        union = np.concatenate([np.minimum(union[:2], box[:2]), np.maximum(union[2:], box[2:])])
        smallest = min(smallest, box_size(box))
        side = max(union[2] - union[0], union[3] - union[1]) + 2 * margin * smallest
        if smallest * (1 + 2 * margin) < SMALLEST_SHARE * side:
            return number
    return len(indices)


def _following(found: Trajectories, person: Trajectory, settings: CropSettings, fps: float) -> tuple[Crop, np.ndarray]:
    """A square for every frame, which moves and scales smoothly with the face."""
    first, count = person.first, person.last - person.first + 1
    indices = np.array(sorted(person.faces))
    boxes = np.stack([points_box(person.faces[index].points) for index in indices])
    sizes = np.array([box_size(box) for box in boxes])
    frames = np.arange(first, first + count)
    centres = [np.interp(frames, indices, (boxes[:, axis] + boxes[:, axis + 2]) / 2) for axis in (0, 1)]
    centres = np.stack([_average(values, POSITION_SECONDS * fps) for values in centres], 1)
    sizes = _average(np.interp(frames, indices, sizes), SIZE_SECONDS * fps)
    centres[:, 1] -= 0.2 * sizes
    sides = np.minimum((1 + 2 * settings.margin) * sizes, min(found.frame_size))[:, None]
    limit = np.array([found.frame_size[1], found.frame_size[0]]) - sides
    corners = np.clip(centres - sides / 2, 0, limit)
    crop = Crop(np.concatenate([corners, corners + sides], 1), found.frame_size, first, count)
    return crop, _points_of(person, first, count)


def _average(values: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian mean over time that looks both ways; at the ends the values are mirrored through the last one."""
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-((np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2) / 2)
    # A single value has nothing to mirror.
    ends = {"mode": "reflect", "reflect_type": "odd"} if len(values) > 1 else {"mode": "edge"}
    padded = np.pad(values, reach, **ends)
    return np.convolve(padded, kernel / kernel.sum(), "valid")


def _fomm(found: Trajectories, settings: CropSettings):
    """The first order protocol: boxes only, first to last frame without the last, clipped to the frame."""
    per_frame: list[list] = [[] for _ in range(found.frames)]
    for person in found.people:
        for index, face in person.faces.items():
            per_frame[index].append(face.box)
    for one in box_trajectories(per_frame, settings.iou_with_initial):
        box = widened(one.union, found.frame_size, settings.increase).astype(np.float64)
        count = max(1, one.last - one.first)
        person = max(found.people, key=lambda each: _shared(each, box, one.first, count))
        yield Crop(box[None], found.frame_size, one.first, count), _points_of(person, one.first, count)


def _shared(person: Trajectory, box: np.ndarray, first: int, count: int) -> int:
    """In how many of the frames a person's face is in a box."""
    faces = [person.faces[index] for index in range(first, first + count) if index in person.faces]
    centres = [face.points.mean(0) for face in faces]
    return sum(bool((centre > box[:2]).all() and (centre < box[2:]).all()) for centre in centres)


def sheet_frames(count: int, tiles: int = 12) -> list[int]:
    """The frames that a contact sheet shows: evenly spread, never the same twice."""
    return sorted({int((tile + 0.5) * count / tiles) for tile in range(min(tiles, count))})


def contact_sheet(
    frames: Iterable[tuple[int, np.ndarray]], proposals: Sequence[Proposal], columns: int = 4, tile: int = 320
) -> np.ndarray:
    """Frames of a video with the crops drawn in: kept ones green, dropped ones red, the points of the faces yellow."""
    tiles = [_drawn(index, frame, proposals, tile) for index, frame in frames]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _drawn(index, frame, proposals, tile):
    scale = tile / max(frame.shape[:2])
    picture = resize(frame, (max(1, round(frame.shape[0] * scale)), max(1, round(frame.shape[1] * scale))))
    for number, one in enumerate(proposals):
        own = index - one.crop.first
        if not 0 <= own < one.crop.count:
            continue
        colour = (230, 60, 40) if one.reason else (40, 200, 60)
        left, top, right, bottom = (int(edge * scale) for edge in one.crop.box(own))
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 2)
        cv2.putText(picture, str(number), (left + 4, max(top, 0) + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
        for point in one.points[own][~np.isnan(one.points[own]).any(-1)]:
            cv2.circle(picture, tuple(int(value) for value in point * scale), 1, (250, 220, 60), -1)
    cv2.putText(picture, str(index), (4, picture.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return picture
