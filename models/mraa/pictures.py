"""What steps of articulated animation show: points, regions, warps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from models.mraa.networks import Generator
from models.mraa.regions import Regions
from models.parts.equivariance import Transformed
from models.parts.keypoints import KeyPoints
from models.parts.motion import Motion
from models.parts.pictures import Style, to_array, to_pictures, with_border, with_points
from util.visualisation import colours, enlarge


class Step(NamedTuple):
    """What a step of training or of animation has computed."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    regions_source: Regions
    regions_driving: Regions
    transformed: Transformed | None
    motion: Motion


def drawn_columns(generator: Generator, step: Step, style: Style, background: Sequence[float]) -> dict[str, Tensor]:
    """The columns of the original's pictures; `background` is the colour behind the regions.

    One source may serve a batch of driving frames.
    """

    def pointed(frame: Tensor, regions: Regions) -> Tensor:
        return with_points(frame, KeyPoints(regions.shift), style.kp_size, style.colormap)

    columns = {"source": pointed(step.source, step.regions_source)}
    if step.transformed is not None:
        columns["transformed"] = pointed(*step.transformed)
    columns["driving"] = pointed(step.driving, step.regions_driving)
    columns["deformed"] = generator.deformed(step.source, step.motion)
    columns["prediction"] = step.prediction
    if step.motion.occlusion_map is not None:
        columns["occlusion"] = step.motion.occlusion_map
    size = tuple(step.source.shape[-2:])
    for name, regions in (("driving", step.regions_driving), ("source", step.regions_source)):
        drawn = coloured_regions(to_array(regions.heatmap), style.colormap, background)
        columns[f"{name} regions"] = to_pictures(enlarge(drawn, size))
    columns = {name: column.expand(len(step.prediction), -1, -1, -1) for name, column in columns.items()}
    return {name: with_border(column) for name, column in columns.items()} if style.draw_border else columns


def coloured_regions(heat: np.ndarray, colormap: str, background: Sequence[float]) -> np.ndarray:
    """Heat maps (B, h, w, K) as pictures (B, h, w, 3): a colour for each region, as strong as its map."""
    shares = heat / heat.max(axis=(1, 2), keepdims=True).clip(min=1e-12)
    total = shares.sum(-1, keepdims=True)
    tinted = shares @ colours(heat.shape[-1], colormap)
    behind = (1 - total.clip(max=1)) * np.asarray(background, np.float32)
    return (tinted / total.clip(min=1) + behind).astype(np.float32)
