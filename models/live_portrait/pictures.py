"""What training steps of LivePortrait show."""

from typing import NamedTuple

from torch import Tensor

from models.parts.equivariance import Transformed
from models.parts.keypoints import KeyPoints
from models.parts.pictures import with_points

STYLE = 3, "gist_rainbow"


class Step(NamedTuple):
    """What a training step has computed."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    kp_source: Tensor
    kp_driving: Tensor
    transformed: Transformed | None


def drawn_columns(step: Step) -> dict[str, Tensor]:
    """Source, transformed and driving frame with their points, and the result."""
    columns = {"source": with_points(step.source, KeyPoints(step.kp_source[..., :2]), *STYLE)}
    if step.transformed is not None:
        columns["transformed"] = with_points(*step.transformed, *STYLE)
    columns["driving"] = with_points(step.driving, KeyPoints(step.kp_driving[..., :2]), *STYLE)
    return columns | {"prediction": step.prediction}
