"""A few samples in a loop: a model that cannot overfit them cannot learn anything else."""

import math
from collections.abc import Sequence
from typing import Any

from data.loading.sampler import seeded
from data.loading.wrapped import Wrapped
from util.errors import UserError


class FirstSamples(Wrapped):
    """The first samples of a dataset, with the same random choices in every epoch; repeated until they fill a batch."""

    def __init__(self, dataset: Any, count: int, batch_size: int):
        if count > len(dataset):
            raise UserError(f"--overfit {count}: the dataset has {len(dataset)} samples")
        super().__init__(dataset)
        self.count, self._repeats = count, math.ceil(batch_size / count)

    def __len__(self) -> int:
        return self.count * self._repeats

    def __getitem__(self, index: int) -> dict[str, Any]:
        with seeded(index % self.count):
            return self.dataset[index % self.count]

    def sample_name(self, index: int) -> str:
        """What a sample is made from."""
        with seeded(index % self.count):
            return self.dataset.sample_name(index % self.count)

    def item_names(self) -> Sequence[str] | None:
        """The names of the samples, repeated like them."""
        names = self.dataset.item_names()
        return None if names is None else list(names[: self.count]) * self._repeats

    def weights(self) -> None:
        """Each as often as the others."""

    def mixture(self) -> None:
        """They are samples of one dataset."""
