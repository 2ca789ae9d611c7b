"""Faces without third-party weights: dlib's free HOG boxes, and Grimace's own network for the 68 points."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.faces.detector import box_centre, box_size
from data.faces.dlib_detector import DlibDetector, import_dlib

AROUND_BOX = 1.35
"""Side of the crop of a detector's box, in sides of the box."""
PASSES = 2
"""Passes of the network: the points of the first centre the crop of the second."""


class OwnDetector(DlibDetector):
    """HOG boxes, and 68 points of all faces of a batch of frames at once."""

    batch_size = 16

    def __init__(self, model: Path | None = None, upsample: int = 1, device: str = "cpu"):
        from util.landmark_network import WEIGHTS, load_network

        dlib = import_dlib()
        self._search, self._upsample = self._hog(dlib.get_frontal_face_detector()), upsample
        self.device, self.network = device, load_network(Path(model or WEIGHTS)).to(device)

    def landmarks_of(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """The 68 points in each box."""
        points = iter([points for points, _ in self.landmarks_and_visibility(frames, boxes)])
        return [[next(points) for _ in row] for row in boxes]

    def landmarks_and_visibility(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Points (68, 2) and how likely each is visible (68,), for all boxes in order."""
        flat = [(frame, square_of(box)) for frame, row in zip(frames, boxes, strict=True) for box in row]
        if not flat:
            return []
        found = self._pass(flat)
        for _ in range(PASSES - 1):
            squares = [square_around(points) for points, _ in found]
            found = self._pass([(frame, square) for (frame, _), square in zip(flat, squares, strict=True)])
        return found

    def _pass(self, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
        import torch

        from util.landmark_network import SIDE

        matrices = [crop_matrix(square, SIDE) for _, square in faces]
        crops = np.stack([cut(frame, matrix, SIDE) for (frame, _), matrix in zip(faces, matrices, strict=True)])
        batch = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            points, visible = self.network(batch)
        pixels = (points.cpu().numpy() + 1) * (SIDE / 2) - 0.5
        back = [cv2.invertAffineTransform(matrix) for matrix in matrices]
        moved = [(one @ matrix[:, :2].T + matrix[:, 2]) for one, matrix in zip(pixels, back, strict=True)]
        likely = torch.sigmoid(visible).cpu().numpy()
        return [(one.astype(np.float32), sure) for one, sure in zip(moved, likely, strict=True)]


def square_of(box: np.ndarray) -> np.ndarray:
    """Centre and side of the crop for a detector's box."""
    return np.array([*box_centre(box), AROUND_BOX * box_size(box)])


def square_around(points: np.ndarray) -> np.ndarray:
    """Centre and side of the crop around points."""
    from util.landmark_network import AROUND_POINTS

    low, high = points.min(0), points.max(0)
    return np.array([*(low + high) / 2, AROUND_POINTS * max(float((high - low).max()), 4.0)])


def crop_matrix(square: np.ndarray, side: int, degrees: float = 0.0) -> np.ndarray:
    """Affine map (2, 3) from frame pixels to pixels of a square's crop; (0, 0) is the first pixel's centre."""
    x, y, size = square
    matrix = cv2.getRotationMatrix2D((float(x), float(y)), degrees, side / float(size))
    matrix[:, 2] += (side - 1) / 2 - np.array([x, y])
    return matrix


def cut(frame: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The crop; blurred first if it is much smaller than the face in the frame."""
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.5:
        frame = cv2.GaussianBlur(frame, (0, 0), 0.35 / scale)
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
