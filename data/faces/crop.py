"""Crop a face out of frames and paste the result back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.faces.detector import Face, box_size
from util.errors import UserError
from util.files import write_text
from util.jsons import read_json
from util.reading import reading

FORMAT = "face crop 1"
# A pixel starts to count as changed above the first difference (of 255), and fully above the second.
UNCHANGED, CHANGED = 1.5, 6.0
FARTHEST = 100_000
"""Pixels; no picture is as large."""
UNIT_WIDEN = 1.35
"""Side of the square around a face whose action units are measured, in sides of the box around its landmarks."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A crop of a video's frames: one box for all frames, or one box per frame."""

    boxes: np.ndarray  # (1 or count, 4): left, top, right, bottom; right and bottom are outside, as in slices
    frame_size: tuple[int, int]  # (height, width) of the full frames
    first: int = 0  # the first frame of the crop in the video
    count: int = 1  # how many frames it lasts
    video: str = ""

    def box(self, index: int = 0) -> np.ndarray:
        """The box at the index-th frame of the crop."""
        return self.boxes[index if len(self.boxes) > 1 else 0]

    def apply(self, frame: np.ndarray, size: tuple[int, int] | int | None = None, index: int = 0) -> np.ndarray:
        """The crop out of its index-th frame, as (height, width) or a square of `size`; default: at its own size."""
        self._check(frame)
        return cut(frame, self.box(index), self.size(index) if size is None else size)

    def size(self, index: int = 0) -> tuple[int, int]:
        """(height, width) of the crop in pixels of the frame."""
        left, top, right, bottom = self.box(index)
        return max(1, round(float(bottom - top))), max(1, round(float(right - left)))

    def points_inside(self, points: np.ndarray, size: tuple[int, int], index: int = 0) -> np.ndarray:
        """Points of the full frame, in pixels of the crop of this size."""
        corner, scale = self._scale(size, index)
        return ((points + 0.5 - corner) / scale - 0.5).astype(points.dtype)

    def points_outside(self, points: np.ndarray, size: tuple[int, int], index: int = 0) -> np.ndarray:
        """Points of the crop of this size, in pixels of the full frame."""
        corner, scale = self._scale(size, index)
        return ((points + 0.5) * scale + corner - 0.5).astype(points.dtype)

    def _scale(self, size, index):
        box = self.box(index)
        return box[:2], (box[2:] - box[:2]) / (size[1], size[0])

    def _check(self, frame):
        if frame.shape[:2] != tuple(self.frame_size):
            raise UserError(
                f"this crop belongs to frames of {self.frame_size[1]}x{self.frame_size[0]}, "
                f"not of {frame.shape[1]}x{frame.shape[0]}: use the video it was made from"
            )

    def save(self, path: Path | str) -> None:
        """Write the crop as a text file, to paste results back later."""
        record = {
            "format": FORMAT,
            "video": self.video,
            "frame_size": list(self.frame_size),
            "first": self.first,
            "count": self.count,
            "boxes": np.round(self.boxes, 3).tolist(),
        }
        write_text(path, json.dumps(record) + "\n")

    @staticmethod
    def load(path: Path | str) -> "Crop":
        """Read what `save` wrote."""
        what, remedy = "not a crop written by script/crop_faces.py", "cut the faces out again"
        with reading(path, what, remedy):
            record = read_json(path, what, remedy)
            if record.pop("format") != FORMAT:
                raise ValueError("another format")
            boxes = np.array(record.pop("boxes"), dtype=np.float64).reshape(-1, 4)
            height, width = map(int, record.pop("frame_size"))
            crop = Crop(boxes=boxes, frame_size=(height, width), **record)
            if not (len(boxes) in (1, crop.count) and (np.abs(boxes) <= FARTHEST).all()):
                raise ValueError(f"{len(boxes)} boxes for {crop.count} frames, or boxes far outside")
            return crop


def pair(size: tuple[int, int] | int) -> tuple[int, int]:
    """(height, width) of a size given as a pair or as the side of a square."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def cut(frame: np.ndarray, box: np.ndarray, size: tuple[int, int] | int) -> np.ndarray:
    """The part of a frame in a box, resized to (height, width); beyond the frame its border is repeated.

    A whole-number box at its own size is copied exactly.
    """
    height, width = pair(size)
    if np.array_equal(box, np.round(box)):
        part = _slice(frame, box.astype(int))
        return part if part.shape[:2] == (height, width) else resize(part, (height, width))
    scale = np.array([box[2] - box[0], box[3] - box[1]]) / (width, height)
    if scale.max() > 1:
        # Blurs as much as averaging over the merged pixels would.
        sigma = np.maximum((scale - 1) / 2, 1e-3)
        frame, box = _smoothed(frame, box, sigma)
    matrix = np.array([[scale[0], 0, box[0] + scale[0] / 2 - 0.5], [0, scale[1], box[1] + scale[1] / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _slice(frame, box):
    left, top, right, bottom = box
    height, width = frame.shape[:2]
    inside = frame[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    outside = [max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)]
    if any(outside):
        inside = cv2.copyMakeBorder(np.ascontiguousarray(inside), *outside, cv2.BORDER_REPLICATE)
    return inside.copy()


def _smoothed(frame, box, sigma):
    """The blurred neighbourhood of a box, and the box in its coordinates."""
    reach = 4 * np.ceil(sigma).astype(int) + 2
    start = np.maximum(np.floor(box[:2]).astype(int) - reach, 0)
    end = np.ceil(box[2:]).astype(int) + reach
    part = np.ascontiguousarray(frame[start[1] : end[1], start[0] : end[0]])
    part = cv2.GaussianBlur(part, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1], borderType=cv2.BORDER_REPLICATE)
    return part, box - np.tile(start, 2)


def resize(picture: np.ndarray, size: tuple[int, int] | int) -> np.ndarray:
    """Resize to (height, width): averaged when it gets smaller, cubic when larger."""
    height, width = pair(size)
    smaller = height < picture.shape[0] or width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def paste(
    frame: np.ndarray, result: np.ndarray, crop: Crop, *, index: int = 0, feather: float = 0.1, everything: bool = False
) -> np.ndarray:
    """The full frame with a result of the crop's index-th frame pasted back, blended along the border.

    Only what the result changed is replaced: where it equals the crop the frame keeps its own, sharper pixels, and a
    result that is the crop leaves the frame as it is, bit for bit. With `everything` all of the box is replaced.
    feather: width of the blending border as a part of the box; there is none where the box ends with the frame.
    """
    original = crop.apply(frame, result.shape[:2], index)
    box = crop.box(index)
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    weight = border_weight(box, crop.frame_size, feather)
    if not everything:
        weight = weight * _enlarged(changed(original, result), box)
    visible = (slice(max(top, 0), min(bottom, frame.shape[0])), slice(max(left, 0), min(right, frame.shape[1])))
    within = (
        slice(visible[0].start - top, visible[0].stop - top),
        slice(visible[1].start - left, visible[1].stop - left),
    )
    weight = weight[within][..., None]
    target = frame[visible].astype(np.float32)
    mixed = target + weight * (_enlarged(result.astype(np.float32), box)[within] - target)
    out = frame.copy()
    out[visible] = np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), target).astype(frame.dtype)
    return out


def changed(original: np.ndarray, result: np.ndarray) -> np.ndarray:
    """How far each pixel of a result differs from the original: 0 not at all, 1 clearly; smooth, and reaching a
    little beyond, so that no rim of the original stays."""
    difference = np.abs(original.astype(np.float32) - result.astype(np.float32)).max(-1)
    reach = max(3, round(min(result.shape[:2]) / 32)) | 1
    near = cv2.dilate(cv2.blur(difference, (3, 3)), np.ones((reach, reach), np.uint8))
    share = np.clip((near - UNCHANGED) / (CHANGED - UNCHANGED), 0, 1)
    return cv2.blur(share, (reach, reach)) * (share.max() > 0)


def border_weight(box: np.ndarray, frame_size: tuple[int, int], feather: float) -> np.ndarray:
    """Weight of each pixel of the box: 1 inside, falling to 0 at sides within the frame."""
    weights = []
    for low, high, end in ((box[1], box[3], frame_size[0]), (box[0], box[2], frame_size[1])):
        middles = np.arange(np.floor(low), np.ceil(high)) + 0.5
        ramp = max(feather * (high - low), 1.0)
        rising = np.clip((middles - low) / ramp, 0, 1) if low > 0 else np.ones(len(middles))
        falling = np.clip((high - middles) / ramp, 0, 1) if high < end else np.ones(len(middles))
        share = np.minimum(rising, falling)
        weights.append(share * share * (3 - 2 * share))
    return np.outer(*weights).astype(np.float32)


def _enlarged(picture, box):
    """A picture of the box, sampled at the pixels of the frame that it touches."""
    start, end = np.floor(box[:2]), np.ceil(box[2:])
    width, height = (end - start).astype(int)
    if np.array_equal(box, np.round(box)):
        return picture if picture.shape[:2] == (height, width) else resize(picture, (height, width))
    scale = np.array([picture.shape[1], picture.shape[0]]) / (box[2:] - box[:2])
    shift = (start + 0.5 - box[:2]) * scale - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def points_box(points: np.ndarray) -> np.ndarray:
    """The box around points of one or more frames."""
    flat = points.reshape(-1, 2)
    return np.concatenate([flat.min(0), flat.max(0)]).astype(np.float64)


def square_around(
    union: np.ndarray, face_size: float, frame_size: tuple[int, int], margin: float = 0.5, lift: float = 0.2
) -> np.ndarray:
    """The whole-number square that shows a face in all positions of `union`, with a margin in parts of the face's size.

    It lies higher than the points by `lift`, because a head extends above the brows; it is moved into the frame, and
    made smaller when the frame is, but never smaller than `union`.
    """
    needed = float(max(union[2] - union[0], union[3] - union[1]))
    side = round(max(needed, min(needed + 2 * margin * face_size, *frame_size)))
    centre = np.array([union[0] + union[2], union[1] + union[3]]) / 2 - (0, lift * face_size)
    corner = np.round(centre - side / 2)
    for axis in (0, 1):
        low, high = sorted((0, frame_size[1 - axis] - side))
        corner[axis] = np.clip(corner[axis], low, high)
    return np.concatenate([corner, corner + side])


def largest_face(faces: Sequence[Face]) -> Face:
    """The face with the largest box."""
    return max(faces, key=lambda one: one.size)


def chosen_faces(faces: Sequence[Face], which: str | int, name: str) -> list[Face]:
    """The faces of a picture that --face means: largest, left, all, or the N-th from the left."""
    if not faces:
        raise UserError(
            f"--source_image {name}: no face found; use another picture, --face_detector or --landmarks, or "
            f"--no_crop_image if the picture is cropped already"
        )
    in_order = from_left(faces)
    if which == "all":
        return in_order
    if which == "largest":
        return [largest_face(faces)]
    number = 1 if which == "left" else int(which)
    if number > len(in_order):
        raise UserError(f"--face {which}: {name} shows {len(in_order)} face(s)")
    return [in_order[number - 1]]


def from_left(faces: Sequence[Face]) -> list[Face]:
    """Faces in the order of --face N."""
    return sorted(faces, key=lambda face: face.box[0] + face.box[2])


def crop_picture(
    picture: np.ndarray, faces: Sequence[Face], padding: Sequence[float] = (0,), margin: float = 0.5, name: str = ""
) -> Crop:
    """The crop of a still picture's largest face, with padding in pixels: one number, or left, upper, right, lower.

    Without padding it is a square; it never reaches beyond the picture.
    """
    if not faces:
        raise UserError(f"{name or 'the picture'}: no face found; use a picture with a face, or do not crop it")
    if len(padding) not in (1, 4):
        raise UserError(f"padding expects one number, or four (left, top, right, bottom), not {len(padding)}")
    face = largest_face(faces)
    size = picture.shape[:2]
    union = points_box(face.points)
    left, upper, right, lower = padding if len(padding) == 4 else [padding[0]] * 4
    box = square_around(union, box_size(union), size, margin) + (-left, -upper, right, lower)
    box = np.round(np.clip(box, 0, (size[1], size[0], size[1], size[0])))
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise UserError(f"{name or 'the picture'}: a padding of {tuple(padding)} leaves an empty crop")
    return Crop(box[None], size, video=name)
