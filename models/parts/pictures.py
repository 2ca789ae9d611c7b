"""Visualisations of a training step that are drawn only when they are shown."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from util.visualisation import draw_points, mask_columns


class Style(NamedTuple):
    """Style of the visualisations."""

    kp_size: int
    colormap: str
    draw_border: bool


class Pictures(Mapping[str, Tensor]):
    """{name: image batch}, computed by a function on first access: most steps are never shown."""

    def __init__(self, draw: Callable[[], dict[str, Tensor]], rows: int = 4):
        """`rows`: number of samples to show."""
        self._draw, self.rows = draw, rows

    @cached_property
    def _pictures(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self._draw()

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> Tensor:
        return self._pictures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pictures)

    def __len__(self) -> int:
        return len(self._pictures)


def first_samples(value: Any, count: int = 4) -> Any:
    """The first samples of a batch in tensors, lists and named tuples of tensors, detached."""
    if isinstance(value, Tensor):
        return value[:count].detach()
    if isinstance(value, list):
        return [first_samples(item, count) for item in value]
    return type(value)(*(first_samples(item, count) for item in value)) if isinstance(value, tuple) else value


def to_array(pictures: Tensor) -> np.ndarray:
    """Pictures (B, C, H, W) as array (B, H, W, C)."""
    return pictures.detach().float().movedim(1, -1).cpu().numpy()


def to_pictures(array: np.ndarray) -> Tensor:
    """An array (B, H, W, C) as pictures (B, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def with_points(pictures: Tensor, kp: Any, style: Style) -> Tensor:
    """Pictures with a disc at every key point."""
    points = kp.value.detach().float().expand(len(pictures), -1, -1).cpu().numpy()
    return to_pictures(draw_points(to_array(pictures), points, style.kp_size, style.colormap))


def with_border(pictures: Tensor) -> Tensor:
    """Pictures with a white first and last column, which separates them side by side."""
    bordered = pictures.clone()
    bordered[..., [0, -1]] = 1
    return bordered


def point_columns(step: Any, style: Style) -> dict[str, Tensor]:
    """The first columns of all families: source, in training a transformed frame, driving frame, with their points."""
    columns = {"source": with_points(step.source, step.kp_source, style)}
    if step.transformed is not None:
        columns["transformed"] = with_points(*step.transformed, style)
    return columns | {"driving": with_points(step.driving, step.kp_driving, style)}


def finished_columns(columns: dict[str, Tensor], rows: int, style: Style) -> dict[str, Tensor]:
    """Columns of `rows` pictures each, where a single one is repeated, with a border if the style has one."""
    columns = {name: column.expand(rows, -1, -1, -1) for name, column in columns.items()}
    return {name: with_border(column) for name, column in columns.items()} if style.draw_border else columns


def motion_columns(
    shares: Tensor, deformed: Tensor, size: tuple[int, int], colormap: str, name: str
) -> dict[str, Tensor]:
    """For each of the motions (B, K + 1, h, w) the warped source and its weight, finally all weights in colours.

    `deformed` is the small source warped by each motion, (B, K + 1, C, h, w).
    """
    warped = to_array(deformed.flatten(0, 1)).reshape(*shares.shape, -1)
    drawn = [to_pictures(column) for column in mask_columns(shares.float().cpu().numpy(), warped, size, colormap)]
    columns = {}
    for index in range(len(drawn) // 2):
        columns |= {f"motion {index}": drawn[2 * index], f"{name} {index}": drawn[2 * index + 1]}
    return columns | {f"{name}s": drawn[-1]}
