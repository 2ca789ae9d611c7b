"""Visualisations of LivePortrait's training steps."""

from typing import NamedTuple

from torch import Tensor

from models.parts.equivariance import Transformed
from models.parts.keypoints import KeyPoints
from models.parts.pictures import Style, point_columns

STYLE = Style(3, "gist_rainbow", draw_border=False)


class Step(NamedTuple):
    """The results of a training step."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    kp_source: Tensor
    kp_driving: Tensor
    transformed: Transformed | None


def drawn_columns(step: Step) -> dict[str, Tensor]:
    """Source, transformed and driving frame with their points, and the result."""
    flat = step._replace(kp_source=KeyPoints(step.kp_source[..., :2]), kp_driving=KeyPoints(step.kp_driving[..., :2]))
    return point_columns(flat, STYLE) | {"prediction": step.prediction}
