"""Visualisations of articulated animation: points, regions, warps."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from models.mraa.networks import Generator
from models.parts.keypoint_family import Step
from models.parts.pictures import Style, finished_columns, point_columns, to_array, to_pictures
from util.visualisation import colours, enlarge


def drawn_columns(generator: Generator, step: Step, style: Style, background: Sequence[float]) -> dict[str, Tensor]:
    """The columns of the original's pictures; `background` is the background colour of the regions."""
    columns = point_columns(step, style)
    columns["deformed"] = generator.deformed(step.source, step.motion)
    columns["prediction"] = step.prediction
    if step.motion.occlusion_map is not None:
        columns["occlusion"] = step.motion.occlusion_map
    size = tuple(step.source.shape[-2:])
    for name, regions in (("driving", step.kp_driving), ("source", step.kp_source)):
        drawn = coloured_regions(to_array(regions.heatmap), style.colormap, background)
        columns[f"{name} regions"] = to_pictures(enlarge(drawn, size))
    return finished_columns(columns, len(step.prediction), style)


def coloured_regions(heat: np.ndarray, colormap: str, background: Sequence[float]) -> np.ndarray:
    """Heatmaps (B, h, w, K) as pictures (B, h, w, 3): a colour per region, scaled by its heatmap."""
    shares = heat / heat.max(axis=(1, 2), keepdims=True).clip(min=1e-12)
    total = shares.sum(-1, keepdims=True)
    tinted = shares @ colours(heat.shape[-1], colormap)
    behind = (1 - total.clip(max=1)) * np.asarray(background, np.float32)
    return (tinted / total.clip(min=1) + behind).astype(np.float32)
