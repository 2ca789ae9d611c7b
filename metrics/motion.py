"""The model's dense motion compared with that of drawn people."""

import numpy as np
import torch
import torch.nn.functional as F

from metrics.metric import STILL, TRUE, Batch, Columns, Metric, Video, masked
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import REFERENCE_HEIGHT
from util.errors import UserError


class MotionTruth(Metric):
    """End-point error of the source position of each pixel. Pixels that something covers in the first frame are
    reported separately; what lies outside it, such as a hand that comes in later, has no position there and is left
    out. The control row "first frame repeated" gives the length of the true motion."""

    name = "motion/truth"
    says = "end-point error of the model's motion where the first frame shows it; in the face .face; covered .hidden"
    unit = "px"
    needs = ()
    tables = ("drawn_truth",)
    of_motion = True
    settings = {"from": "the first frame", "px_at": REFERENCE_HEIGHT}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns: pixels visible in both frames, those of the face, and pixels covered in the first frame."""
        return self.name, f"{self.name}.face", f"{self.name}.hidden"

    def begin(self, video: Video) -> None:
        """Open the truth of the video with this name."""
        self._video = video

    def update(self, batch: Batch) -> Columns:
        """The error per frame; a column without pixels is not measured."""
        count = len(batch)
        if batch.motion is None and batch.result.role == "result":
            raise UserError(
                f"{self.name}: the motion of the frames of {self._video.name} is unknown; set --motion to a folder "
                f"of NAME.npz with grid (N, h, w, 2), or remove the metric"
            )
        if batch.motion is None or (isinstance(batch.motion, str) and batch.motion == TRUE):
            # No model moved a replayed driving video or the truth.
            empty = masked(np.zeros(count), np.zeros(count, bool))
            return dict.fromkeys(self.columns, empty)
        truth = truth_of(self.tools, self._video, batch.first + count, self.name)
        flows = (self._moved(batch, index, truth.size) for index in range(count))
        values = np.array([self._errors(truth, frame, flow) for frame, flow in enumerate(flows, batch.first)]).T
        return {name: masked(column, np.isfinite(column)) for name, column in zip(self.columns, values, strict=True)}

    @staticmethod
    def _moved(batch: Batch, index: int, size: int) -> np.ndarray:
        """The model's flow (H, W, 2) from a frame to the first one, in pixels of the truth."""
        if isinstance(batch.motion, str) and batch.motion == STILL:
            return np.zeros((size, size, 2), np.float32)
        return displacement(batch.motion[index], size)

    @staticmethod
    def _errors(truth, frame: int, flow: np.ndarray) -> tuple[float, float, float]:
        expected, seen = truth.motion(frame, 0)
        error = np.linalg.norm(flow - expected, axis=-1) * (REFERENCE_HEIGHT / truth.size)
        parts = (seen, seen & truth.mask[frame], ~seen & _inside(expected))
        return tuple(float(error[part].mean()) if part.any() else np.nan for part in parts)


def _inside(flow: np.ndarray) -> np.ndarray:
    """Whether pixels that move by `flow` (H, W, 2) stay in the picture."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    x, y = x + flow[..., 0], y + flow[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def displacement(grid: torch.Tensor, size: int) -> np.ndarray:
    """Convert a sampling grid (h, w, 2) to a flow (size, size, 2) in pixels; 0 means no motion."""
    height, width = grid.shape[:2]
    rows, columns = (torch.linspace(-1, 1, steps, dtype=grid.dtype, device=grid.device) for steps in (height, width))
    resting = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], -1)
    flow = (grid - resting).permute(2, 0, 1)[None] * (size - 1) / 2
    return F.interpolate(flow, (size, size), mode="bilinear", align_corners=True)[0].permute(1, 2, 0).cpu().numpy()
