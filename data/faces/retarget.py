"""Retargets landmarks: the movements of the driving person, the proportions of the source person."""

import numpy as np

PARTS = {
    "jaw": range(17), "right brow": range(17, 22), "left brow": range(22, 27), "nose": range(27, 36),
    "right eye": range(36, 42), "left eye": range(42, 48), "mouth": range(48, 68),
}  # fmt: skip
RIGID = [0, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]
"""Points that no expression moves: ends of the jaw, nose, corners of the eyes."""
OPENING = ("right brow", "left brow", "right eye", "left eye", "mouth")
"""Parts whose height shows expression: their width gives the scale of both axes."""


class Retarget:
    """Gives landmarks of a driving face the position and proportions of the source's face.

    The movement of the head since a `neutral` driving frame is taken off, each part is moved and scaled to where and
    how large it is in the source, and the movement is put on again. For a face like the source's nothing changes.
    """

    def __init__(self, source: np.ndarray, neutral: np.ndarray):
        """Landmarks (68, 2) of the source, and of the driving frame that its pose and size are compared with."""
        self.source, self.neutral = (np.asarray(points, np.float64) for points in (source, neutral))
        self.face_scale = _extent(self.source) / _extent(self.neutral)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The landmarks (68, 2) of a driving frame, adapted."""
        turn, offset = similarity(self.neutral[RIGID], np.asarray(points, np.float64)[RIGID])
        still = (points - offset) @ np.linalg.inv(turn).T
        adapted = np.empty_like(still)
        for name, indices in PARTS.items():
            adapted[indices] = self._adapt(name, still[indices], self.neutral[indices], self.source[indices])
        before, centre = _centre(self.neutral), _centre(self.source)
        shift = self.face_scale * (turn @ before + offset - before)
        return (adapted - centre) @ turn.T + centre + shift

    def _adapt(self, name: str, points: np.ndarray, neutral: np.ndarray, source: np.ndarray) -> np.ndarray:
        scale = _extent(source) / _extent(neutral)
        if name in OPENING:
            scale = scale[[0, 0]]
        centre = points.mean(0)
        moved = self.face_scale * (centre - neutral.mean(0))
        return source.mean(0) + moved + scale * (points - centre)


def _extent(points: np.ndarray) -> np.ndarray:
    """Width and height of the box around some points; a pixel at least."""
    return np.maximum(points.max(0) - points.min(0), 1)


def _centre(points: np.ndarray) -> np.ndarray:
    return points[RIGID].mean(0)


def similarity(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation and scaling (2, 2), and the shift (2,), that bring points (N, 2) nearest to others."""
    # With points as complex numbers, rotation and scaling are one factor, and least squares is a quotient.
    (one, other), (middle, aim) = ([points @ (1, 1j) for points in pair] for pair in (
        (before - before.mean(0), after - after.mean(0)), (before.mean(0), after.mean(0))
    ))  # fmt: skip
    factor = (one.conj() @ other) / (one.conj() @ one)
    shift = aim - factor * middle
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return turn, np.array([shift.real, shift.imag])
