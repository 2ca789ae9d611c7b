"""What stands before a dataset, changes which samples it has, and is otherwise like it."""

from typing import Any


class Wrapped:
    """Gives all attributes of a dataset that it has none of its own of."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while it is unpickled in a worker
            raise AttributeError(name)
        return getattr(self.dataset, name)
