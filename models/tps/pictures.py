"""Visualisations of the thin-plate spline motion model in training and animation: points, warps, masks."""

from torch import Tensor

from models.parts.keypoint_family import Step
from models.parts.pictures import Style, finished_columns, motion_columns, point_columns
from models.tps.networks import warped


def drawn_columns(step: Step, style: Style) -> dict[str, Tensor]:
    """The columns of the original's pictures."""
    motion, size = step.motion, tuple(step.source.shape[-2:])
    columns = point_columns(step, style)
    columns |= {"deformed": warped(step.source, motion), "prediction": step.prediction}
    columns |= {f"occlusion {index}": mask for index, mask in enumerate(motion.occlusion_maps)}
    columns |= motion_columns(motion.contribution_maps, motion.deformed_source, size, style.colormap, "map")
    return finished_columns(columns, len(step.prediction), style)
