"""Temporal consistency (flicker): difference of each frame from the previous one, warped by the true video's flow."""

import numpy as np

from metrics.metric import RESULT, Batch, Columns, Metric, Video, masked
from metrics.parts.flows import AGREEMENT, warped
from metrics.parts.streams import Stream
from util.errors import UserError


class WarpError(Metric):
    """Blur lowers the value, so compare it with the truth's own."""

    name = "warp_error"
    says = "L1 of each frame and the next one, warped by the flow of the true video (Lai 2018)"
    used_by = "papers on temporal consistency"
    better = "like truth"
    needs = ("truth|driving",)
    in_time = True
    settings = {"flow": "DIS medium, of the truth", "known where": f"forward and backward agree to {AGREEMENT} px"}
    libraries = ("opencv-python",)
    ratios = {"warp_error.ratio": ("warp_error", "warp_error.truth")}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of result and truth."""
        return self.name, f"{self.name}.truth"

    def begin(self, video: Video) -> None:
        """Forget the previous frame of the last video."""
        self._before: dict[str, np.ndarray | None] = dict.fromkeys(self.columns)

    def update(self, batch: Batch) -> Columns:
        """The error per frame over pixels with a reliable flow; the first frame has none."""
        truth = batch.either("truth", "driving")
        flows = truth.find("flow")
        return {name: self._errors(name, stream, flows)
                for name, stream in zip(self.columns, (batch.result, truth), strict=True)}  # fmt: skip

    def _errors(self, name: str, stream: Stream, flows: np.ndarray) -> np.ndarray:
        values = []
        for frame, flow in zip(stream.bytes, flows, strict=True):
            before, self._before[name] = self._before[name], frame
            known = np.isfinite(flow[..., 0])
            if frame.shape[:2] != known.shape and stream.role == RESULT:
                raise UserError(
                    f"{self.name}: the result has {frame.shape[1]}x{frame.shape[0]} pixels, the video whose flow "
                    f"warps it {known.shape[1]}x{known.shape[0]}; bring both to one size with --size"
                )
            # A source picture of another size, repeated, has nothing to measure.
            if before is None or frame.shape[:2] != known.shape or not known.any():
                values.append(np.nan)
                continue
            difference = np.abs(warped(frame, flow).astype(np.float32) - before)[known]
            values.append(float(difference.mean()) / 255)
        return masked(values, np.isfinite(values))
