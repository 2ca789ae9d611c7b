"""Dataset mode `my_mode`: its content in one line."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from data.base import to_tensor
from data.frames import FramesDataset


class MyModeDataset(FramesDataset):
    """Clips as in mode `frames`, with the mean colour of each frame.

    A training item holds `source` and `driving` (3, H, W), `name`, and `colour` (3,) of the driving frame. A test clip
    has `image` (3, H, W) as its source, and `image` and `colour` in each driving item.
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        FramesDataset.add_options(parser, training)  # add options of your own below

    def __getitem__(self, index: int) -> dict[str, Any]:
        # Random choices need no seed here: the loader seeds them from the run's seed, the epoch and the index.
        pair = self.pair(index)
        source, driving = map(to_tensor, pair.frames)
        return {"source": source, "driving": driving, "colour": mean_colour(driving), "name": pair.name}

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return self.item(frames[0])

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        return map(self.item, frames)

    def item(self, frame: np.ndarray) -> dict[str, Tensor]:
        """The driving item of a frame."""
        item = super().item(frame)
        return item | {"colour": mean_colour(item["image"])}


def mean_colour(picture: Tensor) -> Tensor:
    """The mean colour (3,) of a picture (3, H, W)."""
    return picture.mean((1, 2))
