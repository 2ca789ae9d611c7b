"""LivePortrait's own 203 landmarks of a face, by the authors' ONNX file, where the user has it."""

from pathlib import Path

import numpy as np

from data.faces.portrait_crop import square_of
from util.errors import UserError
from util.onnx_network import load_onnx

SIDE = 224
SCALE, SHIFT = 1.5, (0.0, -0.1)
"""The crop that the network sees, by landmarks found before."""
COUNT = 203
OUTPUT = 2
"""Which of the network's outputs holds the points, in sides of the crop."""
OPTION = "--portrait_landmarks"


class PortraitPoints:
    """Finds 203 landmarks around faces whose 68 are known."""

    def __init__(self, path: Path):
        self.path = path
        self._run = load_onnx(path, OPTION)

    def __call__(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The 203 points (x, y) of the face with these 68 points, in pixels of the frame (H, W, 3)."""
        square = square_of(points, SCALE, SHIFT)
        crop = square.cut(frame, SIDE).astype(np.float32) / 255
        outputs = self._run(crop.transpose(2, 0, 1)[None])
        if len(outputs) <= OUTPUT or outputs[OUTPUT].size != 2 * COUNT:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise UserError(
                f"{OPTION} {self.path}: its outputs are {shapes}; the third output of landmark.onnx has {2 * COUNT} "
                f"numbers"
            )
        found = outputs[OUTPUT].reshape(COUNT, 2).astype(np.float64) * SIDE
        matrix = square.matrix(SIDE).astype(np.float64)
        # Crop = turn . picture + shift, the other way round.
        return np.linalg.solve(matrix[:, :2], (found - matrix[:, 2]).T).T.astype(np.float32)

    def of_clip(self, frames, points: np.ndarray) -> np.ndarray:
        """The same of all frames of a clip: (N, 203, 2)."""
        return np.stack([self(frame, found) for frame, found in zip(frames, points, strict=True)])
