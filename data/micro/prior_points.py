"""The 18 points of the facial prior: found in frames, read from a folder, mirrored with a face."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.faces.detector import Detector
from data.video import parts_of
from util.errors import UserError
from util.files import replacing
from util.resizing import resize, to_bytes

LANDMARKS = (19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59)
"""Brows, bridge of the nose, lids, corners of the mouth and lower lip, by their numbers among the 68."""
CHEEKS = ((31, (-1, 0)), (35, (1, 0)), (41, (0, 1)), (46, (0, 1)), (48, (-1, 0)), (54, (1, 0)))
"""Points beside a landmark: in which direction (x, y), half as far away as the inner corners of the eyes are apart."""
INNER_CORNERS = (39, 42)
COUNT = len(LANDMARKS) + len(CHEEKS)
MIRRORED = (1, 0, 2, 5, 6, 3, 4, 8, 7, 11, 10, 9, 13, 12, 15, 14, 17, 16)
"""Index of each mirrored point among the face's points."""
DEFAULT_POINTS = np.array(
    [
        (71, 36), (181, 42), (129, 65), (90, 63), (78, 72), (165, 65), (177, 73), (93, 168), (175, 165),
        (162, 169), (137, 173), (111, 172), (84, 134), (183, 133), (78, 98), (177, 99), (67, 168), (201, 165),
    ],
    np.float32,
)  # fmt: skip
"""The original's points where it found no face, in a picture of DEFAULT_SIZE."""
DEFAULT_SIZE = (256, 256)
FOLDER = "keypoint_folder"
SEARCHED = 10
"""Number of a clip's frames that are searched for a face."""
MIN_SIDE = 256
"""Smaller frames are enlarged for face detection."""


def points_of_face(landmarks: np.ndarray) -> np.ndarray:
    """The points (18, 2) of a face with these landmarks (68, 2)."""
    landmarks = np.asarray(landmarks, np.float32)
    left, right = INNER_CORNERS
    half = (landmarks[right, 0] - landmarks[left, 0]) / 2
    cheeks = [landmarks[index] + half * np.array(direction, np.float32) for index, direction in CHEEKS]
    return np.concatenate([landmarks[list(LANDMARKS)], cheeks]).astype(np.float32)


def mirrored(points: np.ndarray, width: int) -> np.ndarray:
    """The points of the mirrored face: on the other side of the picture, and left and right exchanged."""
    return points[list(MIRRORED)] * np.float32([-1, 1]) + np.float32([width - 1, 0])


def scaled(points: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """Points in a picture of `size` (height, width) after it is brought to another size."""
    return (points * np.float32([new_size[1] / size[1], new_size[0] / size[0]])).astype(np.float32)


def default_points(size: tuple[int, int]) -> np.ndarray:
    """The original's stored points in a picture of this size."""
    return scaled(DEFAULT_POINTS, DEFAULT_SIZE, size)


def find_points(
    frames: Iterable[np.ndarray],
    detector: Detector,
    *,
    name: str,
    default: bool = False,
    last: bool = False,
    remedy: str = "remove it",
) -> tuple[np.ndarray, str | None]:
    """The points of the first of some frames that shows a face, and a note about them.

    Of several faces the largest is taken, or the `last` that the detector lists, as the original did. Without any face
    the clip, called `name`, is refused with the remedy, or has the original's stored points by `default`.
    """
    index, size = -1, None
    for index, frame in enumerate(frames):
        size = frame.shape[:2]
        landmarks = _landmarks(frame, detector, last)
        if landmarks is not None:
            return points_of_face(landmarks), f"no face before frame {index}" if index else None
    missing = f"no face in its first {index + 1} frames" if index > 0 else "no face found"
    if size is None or not default:
        raise UserError(f"{name}: {missing}; {remedy}, or use the original's stored points with --default_points")
    return default_points(size), f"{missing}: using the stored points"


def _landmarks(frame: np.ndarray, detector: Detector, last: bool) -> np.ndarray | None:
    """The 68 points of one face of a frame."""
    size = frame.shape[:2]
    enlarging = MIN_SIDE / min(size)
    # Landmarks read from files are in the pixels of the frame itself.
    if enlarging > 1 and detector.can_follow:
        larger = round(size[0] * enlarging), round(size[1] * enlarging)
        found = _landmarks(to_bytes(resize(frame, larger)), detector, last)
        return None if found is None else scaled(found, larger, size)
    if last:
        boxes = detector.find([frame])[0]
        return detector.landmarks_in_box(frame, boxes[-1][0]) if boxes else None
    faces = detector.detect([frame])[0]
    return faces[0].points if faces else None


def default_folder(root: Path) -> Path:
    """The default folder of a dataset's points: with its parts, or beside a folder of clips."""
    return root / FOLDER if parts_of(root) else root.with_name(f"{root.name}_{FOLDER}")


class PointsFolder:
    """A folder with the points of each clip, as script/kpmaker.py writes it."""

    def __init__(self, folder: Path):
        self.folder = folder
        if not folder.is_dir():
            raise UserError(f"--keypoint_folder {folder}: no such folder; make it with script/kpmaker.py")
        self._files = sorted(path for path in folder.glob("*.pt") if not path.name.startswith("."))

    def read(self, *names: str) -> np.ndarray:
        """The points (18, 2) of the clip with one of these names, the likeliest first."""
        return read_points(self.find(*names))

    def find(self, *names: str) -> Path:
        """The file of that clip."""
        for name in names:
            path = self.folder / f"{name}.pt"
            if path.is_file():
                return path
        # The original takes a file whose name contains the clip's; folders made for it may need that.
        containing = [path for path in self._files if names[-1] in path.stem]
        if len(containing) == 1:
            return containing[0]
        several = f"; several names contain it: {', '.join(path.name for path in containing[:5])}" if containing else ""
        raise UserError(
            f"{self.folder}: no {names[0]}.pt with the points of this clip{several}; make it with script/kpmaker.py; "
            f"if kpmaker_failures.csv lists the clip, remove it or use --default_points"
        )


def read_points(path: Path) -> np.ndarray:
    """The points (18, 2) in a file of torch.save, (18, 2) or (1, 18, 2); never code."""
    from util.weights_file import read_weights  # torch, which the commands that list options do without

    points = read_weights(path)
    shape = tuple(getattr(points, "shape", ()))
    if shape not in ((COUNT, 2), (1, COUNT, 2)):
        raise UserError(f"{path}: holds {type(points).__name__} {shape}; points ({COUNT}, 2) are needed")
    points = points.detach().float().reshape(COUNT, 2).numpy()
    if not np.isfinite(points).all():
        raise UserError(f"{path}: some of its points are not finite; recreate it with script/kpmaker.py")
    return points


def write_points(path: Path, points: np.ndarray) -> None:
    """Write points as the original's programs read them."""
    import torch

    # torch.save embeds the file's name; saving through memory makes equal points equal bytes.
    content = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(points, np.float32)), content)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
