"""The updates that a training step yields, checked so that an error names the family, its line and the term."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from torch import Tensor

from engine.clock import Clock
from engine.networks import names_of

FORM = 'an update is yielded as the name of its optimizer and its terms, e.g. yield "generator", {"l1": loss}'


class StepError(Exception):
    """An error in a family's training step: the message says where it is and how to fix it."""


class Update(NamedTuple):
    """One update: its optimizers, the losses to minimise the sum of, and the numbers to report."""

    names: tuple[str, ...]
    terms: Mapping[str, Tensor]
    report: Mapping[str, Tensor]


class RunningStep:
    """The training step of one micro-batch, which advances from update to update."""

    def __init__(self, family: Any, batch: dict, clock: Clock, optimizers: Iterable[str]):
        self.family, self.optimizers = type(family), list(optimizers)
        self.visuals: Mapping[str, Any] = {}
        self._number = 0
        self._generator = family.training_step(batch, clock)
        if not isinstance(self._generator, Iterator):
            raise StepError(f"{self.where}: returns {_kind(self._generator)} and yields nothing; {FORM}")

    @property
    def where(self) -> str:
        """Family and index of the yield, for messages."""
        position = f", yield {self._number}" if self._number else ""
        return f"training_step of {self.family.__name__} ({self.family.__module__}){position}"

    def advance(self) -> Update | None:
        """The next update; None at the end of the step."""
        self._number += 1
        try:
            yielded = next(self._generator)
        except StopIteration as end:
            self.visuals = {} if end.value is None else end.value
            if not isinstance(self.visuals, Mapping):
                raise StepError(
                    f"training_step of {self.family.__name__} returns {_kind(end.value)}; return pictures "
                    'to show, {"name": image batch}, or nothing'
                ) from None
            return None
        try:
            return self._checked(yielded)
        except StepError as error:
            self.blame(error)

    def blame(self, error: Exception) -> NoReturn:
        """Raise an error at the family's `yield`, so that the traceback shows the line."""
        with suppress(StopIteration):  # a family that swallows the error raised there
            self._generator.throw(error)
        raise error

    def _checked(self, yielded: Any) -> Update:
        if not isinstance(yielded, tuple) or len(yielded) not in (2, 3):
            raise StepError(f"{self.where}: yields {_kind(yielded)}; {FORM}")
        names, terms, *rest = yielded
        names = (names,) if isinstance(names, str) else names
        if not isinstance(names, (tuple, list)) or not names:
            raise StepError(f"{self.where}: names its optimizers by {_kind(names)}; {FORM}")
        unknown = [name for name in names if name not in self.optimizers]
        if unknown:
            raise StepError(
                f"{self.where}: no optimizer {', '.join(map(repr, unknown))}; optimizers() returns "
                f"{', '.join(self.optimizers)}"
            )
        report = rest[0] if rest else terms
        for what, numbers in (("term", terms), ("reported number", report)):
            self._check_numbers(tuple(names), what, numbers)
        return Update(tuple(names), terms, report)

    def _check_numbers(self, names: tuple[str, ...], what: str, numbers: Any) -> None:
        where = f"{self.where} ({', '.join(names)})"
        if not isinstance(numbers, Mapping):
            raise StepError(f"{where}: {_kind(numbers)} instead of a dict of {what}s; {FORM}")
        if not numbers:
            raise StepError(f"{where}: has no {what}s, so nothing would be trained; is every weight 0?")
        for name, value in numbers.items():
            if not isinstance(value, Tensor):
                remedy = "compute it from tensors, without item() or float()"
                raise StepError(f"{where}: the {what} {name!r} is {_kind(value)}, not a tensor; {remedy}")
            if value.numel() != 1:
                raise StepError(f"{where}: the {what} {name!r} is {_kind(value)}, not one number; use its mean()")
            if not value.is_floating_point():
                raise StepError(f"{where}: the {what} {name!r} is {_kind(value)}, which has no gradient")


def _kind(value: Any) -> str:
    """Description of a value, for messages."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"the {type(value).__name__} {value!r}" if isinstance(value, (int, float, str)) else type(value).__name__


class Reach:
    """Checks in the first updates of every optimizer that each loss reaches its parameters.

    A loss that is detached or belongs to other networks would silently train nothing.
    """

    def __init__(self, family: Any, parameters: Mapping[str, Iterable[Tensor]], updates: int = 3):
        """`parameters`: those of each optimizer; `updates`: number of checked updates per optimizer."""
        self._left = dict.fromkeys(parameters, updates)
        self._parameters = parameters
        self._family = family

    def check(self, update: Update, where: str) -> None:
        """Called between backward and update, while parameters that no loss reaches have no gradient."""
        for name in [name for name in update.names if self._left[name]]:
            self._left[name] -= 1
            parameters = list(self._parameters[name])
            if parameters and all(parameter.grad is None for parameter in parameters):
                raise StepError(self._unreached(name, parameters, update, where))

    def _unreached(self, name: str, parameters: list[Tensor], update: Update, where: str) -> str:
        terms = [term if value.requires_grad else f"{term} (detached)" for term, value in update.terms.items()]
        return (
            f"{where}: the loss reaches none of the parameters of the optimizer {name!r}, so it trains nothing. "
            f"Terms: {', '.join(terms)}; without gradient: {names_of(parameters, self._family)}. Is a tensor "
            f"detached, computed under no_grad, or from another network?"
        )
