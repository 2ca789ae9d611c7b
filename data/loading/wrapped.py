"""What stands before a dataset, changes which samples it has, and is otherwise like it."""

from typing import Any


class Wrapped:
    """Forwards attributes that it lacks to a dataset."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while it is unpickled in a worker
            raise AttributeError(name)
        return getattr(self.dataset, name)
