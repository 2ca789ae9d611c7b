"""Visualisations of the first order motion model in training and animation: points, warps, masks."""

from torch import Tensor

from models.fomm.networks import Generator
from models.parts.keypoint_family import Step
from models.parts.pictures import Style, finished_columns, motion_columns, point_columns, with_points


def drawn_columns(generator: Generator, step: Step, style: Style, masks: bool = False) -> dict[str, Tensor]:
    """The columns of the original's results, with `masks` those of its training pictures."""
    columns, motion = point_columns(step, style), step.motion
    if motion is not None:
        columns["deformed"] = generator.deformed(step.source, motion)
    if step.kp_moved is not None:
        columns["moved points"] = with_points(step.prediction, step.kp_moved, style)
    columns["prediction"] = step.prediction
    if motion is not None and motion.occlusion_map is not None:
        columns["occlusion"] = motion.occlusion_map
    if motion is not None and masks:
        size = tuple(step.source.shape[-2:])
        columns |= motion_columns(motion.mask, motion.sparse_deformed, size, style.colormap, "mask")
    return finished_columns(columns, len(step.prediction), style)
