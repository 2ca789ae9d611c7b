"""Classes that others extend, and whose methods are called elsewhere."""

import inspect
from typing import Any


class KeepsMethods:
    """Refuses `self.rate = 0.1` where `rate` is a method: the call would fail later, in code of others."""

    def __setattr__(self, name: str, value: Any) -> None:
        if inspect.isfunction(getattr(type(self), name, None)) and not callable(value):
            raise AttributeError(
                f"{type(self).__name__}: self.{name} = {value!r} hides the method {name}(); rename the attribute, "
                f"e.g. self._{name}"
            )
        super().__setattr__(name, value)
