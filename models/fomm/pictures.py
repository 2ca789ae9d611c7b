"""What the first order motion model shows of a training step and of an animation: points, warps, masks."""

from typing import NamedTuple

from torch import Tensor

from models.fomm.networks import Generator
from models.parts.equivariance import Transformed
from models.parts.keypoints import KeyPoints
from models.parts.motion import Motion
from models.parts.pictures import Style, motion_columns, with_border, with_points


class Step(NamedTuple):
    """What a training step has computed."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    kp_source: KeyPoints
    kp_driving: KeyPoints
    transformed: Transformed | None
    motion: Motion | None


def training_pictures(generator: Generator, step: Step, style: Style) -> dict[str, Tensor]:
    """The columns of the original's training pictures."""
    columns = _columns(generator, step, style)
    if step.motion is not None:
        size = tuple(step.source.shape[-2:])
        columns |= motion_columns(step.motion.mask, step.motion.sparse_deformed, size, style.colormap, "mask")
    return _bordered(columns, style)


def animation_pictures(generator: Generator, step: Step, style: Style, kp_moved: KeyPoints | None) -> dict[str, Tensor]:
    """The columns of the original's results; `kp_moved` are the points that animated, where those have a column."""
    return _bordered(_columns(generator, step, style, kp_moved), style)


def _columns(generator: Generator, step: Step, style: Style, kp_moved: KeyPoints | None = None) -> dict[str, Tensor]:
    how = (style.kp_size, style.colormap)
    columns = {"source": with_points(step.source, step.kp_source, *how)}
    if step.transformed is not None:
        columns["transformed"] = with_points(*step.transformed, *how)
    columns["driving"] = with_points(step.driving, step.kp_driving, *how)
    if step.motion is not None:
        columns["deformed"] = generator.deformed(step.source, step.motion)
    if kp_moved is not None:
        columns["moved points"] = with_points(step.prediction, kp_moved, *how)
    columns["prediction"] = step.prediction
    if step.motion is not None and step.motion.occlusion_map is not None:
        columns["occlusion"] = step.motion.occlusion_map
    return columns


def _bordered(columns: dict[str, Tensor], style: Style) -> dict[str, Tensor]:
    return {name: with_border(column) for name, column in columns.items()} if style.draw_border else columns
