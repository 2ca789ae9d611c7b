"""What steps of the thin-plate spline motion model show: points, warps, masks."""

from typing import NamedTuple

from torch import Tensor

from models.parts.equivariance import Transformed
from models.parts.keypoints import KeyPoints
from models.parts.pictures import Style, motion_columns, with_border, with_points
from models.tps.networks import Motion, warped


class Step(NamedTuple):
    """What a step of training or of animation has computed."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    kp_source: KeyPoints
    kp_driving: KeyPoints
    transformed: Transformed | None
    motion: Motion


def drawn_columns(step: Step, style: Style) -> dict[str, Tensor]:
    """The columns of the original's pictures; one source may serve a batch of driving frames."""
    how = (style.kp_size, style.colormap)
    columns = {"source": with_points(step.source, step.kp_source, *how)}
    if step.transformed is not None:
        columns["transformed"] = with_points(*step.transformed, *how)
    columns["driving"] = with_points(step.driving, step.kp_driving, *how)
    columns |= {"deformed": warped(step.source, step.motion), "prediction": step.prediction}
    columns |= {f"occlusion {index}": mask for index, mask in enumerate(step.motion.occlusion_maps)}
    motion, size = step.motion, tuple(step.source.shape[-2:])
    columns |= motion_columns(motion.contribution_maps, motion.deformed_source, size, style.colormap, "map")
    columns = {name: column.expand(len(step.prediction), -1, -1, -1) for name, column in columns.items()}
    return {name: with_border(column) for name, column in columns.items()} if style.draw_border else columns
