"""Facial expressions as intensities of action units (0 to 5): names, presets, sweeps and transitions."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from util.errors import UserError

STRONGEST = 5.0
"""The largest intensity; the networks see intensities divided by it."""


@dataclass(frozen=True)
class Unit:
    """One action unit of the Facial Action Coding System (Ekman, Friesen and Hager 2002)."""

    number: int
    name: str
    muscles: str

    @property
    def column(self) -> str:
        """Its name in tables, e.g. AU06."""
        return f"AU{self.number:02d}"


UNITS = (
    Unit(1, "inner brow raiser", "frontalis, pars medialis"),
    Unit(2, "outer brow raiser", "frontalis, pars lateralis"),
    Unit(4, "brow lowerer", "corrugator supercilii, depressor supercilii, depressor glabellae"),
    Unit(5, "upper lid raiser", "levator palpebrae superioris"),
    Unit(6, "cheek raiser", "orbicularis oculi, pars orbitalis"),
    Unit(7, "lid tightener", "orbicularis oculi, pars palpebralis"),
    Unit(9, "nose wrinkler", "levator labii superioris alaeque nasi"),
    Unit(10, "upper lip raiser", "levator labii superioris, caput infraorbitale"),
    Unit(12, "lip corner puller", "zygomaticus major"),
    Unit(14, "dimpler", "buccinator"),
    Unit(15, "lip corner depressor", "depressor anguli oris"),
    Unit(17, "chin raiser", "mentalis"),
    Unit(20, "lip stretcher", "risorius"),
    Unit(23, "lip tightener", "orbicularis oris"),
    Unit(25, "lips part", "depressor labii inferioris, or relaxed mentalis or orbicularis oris"),
    Unit(26, "jaw drop", "masseter, temporalis and medial pterygoid relaxed"),
    Unit(45, "blink", "levator palpebrae superioris relaxed; orbicularis oculi, pars palpebralis"),
)
"""The units whose intensities OpenFace measures, in the order of the condition vector."""

ELEVEN = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)
"""The units of models with a condition of eleven."""

VIEWS = (
    "input", "composed", "attention", "color", "second color", "second attention", "second composed",
)  # fmt: skip
"""The outputs of the two passes of a model, in the order of the panel picture."""


@dataclass(frozen=True)
class Preset:
    """A named expression. Its units are from the source; the intensities are ours, for a clear expression."""

    intensities: dict[int, float]
    source: str


_FACS = "FACS Investigator's Guide (Ekman, Friesen, Hager 2002), prototypes of emotions"
_COMPOUND = "Compound facial expressions of emotion (Du, Tao, Martinez 2014), table 1"
_CK = "The extended Cohn-Kanade dataset (Lucey et al. 2010), table 1"

PRESETS = {
    "neutral": Preset({}, "no unit is active"),
    "smile": Preset({6: 2.5, 12: 3.5}, _FACS),
    "happiness": Preset({6: 2.5, 12: 3.5, 25: 2.5}, _COMPOUND),
    "laugh": Preset({6: 3.5, 12: 4.5, 25: 3.5, 26: 2.5}, f"{_COMPOUND}, with the jaw dropped"),
    "sadness": Preset({1: 3.0, 4: 2.5, 15: 3.5}, _FACS),
    "surprise": Preset({1: 3.5, 2: 3.0, 5: 3.0, 25: 3.0, 26: 3.5}, _FACS),
    "fear": Preset({1: 3.0, 2: 2.0, 4: 2.5, 5: 3.5, 7: 2.0, 20: 3.0, 26: 2.0}, _FACS),
    "anger": Preset({4: 4.0, 5: 3.0, 7: 3.0, 23: 3.5}, _FACS),
    "disgust": Preset({9: 4.0, 10: 3.0, 15: 2.0, 17: 2.0}, _FACS),
    "contempt": Preset({14: 4.0}, f"{_CK}; there on one side of the face, here on both"),
    "blink": Preset({45: 4.5}, "FACS: unit 45"),
}

EASINGS = {
    "linear": lambda t: t,
    "smooth": lambda t: t * t * (3 - 2 * t),
    "in": lambda t: t * t,
    "out": lambda t: t * (2 - t),
}
"""Name -> easing function: progress (0 to 1) at a time from 0 to 1."""


def units_for(count: int, names: Sequence[str] = ()) -> tuple[Unit, ...]:
    """The units of a condition vector of this length; `names` are required if the length is ambiguous."""
    by_number = {unit.number: unit for unit in UNITS}
    if names:
        if len(names) != count:
            raise UserError(f"--units: {len(names)} units, but --cond_nc is {count}")
        numbers = [_number(name) for name in names]
        unknown = [name for name, number in zip(names, numbers, strict=True) if number is None]
        if unknown:
            raise UserError(f"--units: {', '.join(unknown)}: use numbers, e.g. AU12")
        return tuple(by_number.get(number, Unit(number, f"unit {number}", "")) for number in numbers if number)
    if count == len(UNITS):
        return UNITS
    if count == len(ELEVEN):
        return tuple(by_number[number] for number in ELEVEN)
    raise UserError(f"--cond_nc {count}: list the units with --units AU01,AU02,... in the order of the annotations")


def find_unit(name: str, units: Sequence[Unit] = UNITS) -> int:
    """The index of a unit in the vector, by its number (12, AU12, AU12_r) or its name (lip corner puller)."""
    number = _number(name)
    normalised = _normalised(name)
    for index, unit in enumerate(units):
        if unit.number == number or unit.name == normalised:
            return index
    known = [unit.name for unit in units]
    near = get_close_matches(normalised, known, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(
        f"action unit {name!r}: no unit has this name or number.{hint} Available: "
        + ", ".join(f"{unit.number} ({unit.name})" for unit in units)
    )


def parse_units(text: str, units: Sequence[Unit] = UNITS) -> dict[int, float]:
    """Indices and intensities from "12=3.5,AU6=2,lip corner puller=4"."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        found[find_unit(name, units)] = _intensity(value if equals else "", part)
    return found


def parse_expression(text: str, units: Sequence[Unit] = UNITS) -> np.ndarray:
    """The vector of presets such as "smile", "smile=0.5" (half as strong) or "smile,blink" (maximum per unit).

    Units that a model lacks are dropped with a warning; a preset without any known unit is an error.
    """
    vector = np.zeros(len(units), np.float32)
    index_of = {unit.number: index for index, unit in enumerate(units)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, strength = part.partition("=")
        preset = find_preset(name)
        factor = _number_in(strength, part, "smile=0.5") if equals else 1.0
        _warn_of_unknown(
            name, [number for number in preset.intensities if number not in index_of], len(preset.intensities)
        )
        for number in preset.intensities.keys() & index_of.keys():
            vector[index_of[number]] = max(vector[index_of[number]], factor * preset.intensities[number])
    return vector.clip(0, STRONGEST)


def _warn_of_unknown(name: str, numbers: Sequence[int], of: int) -> None:
    problem = f"--expression {name}: this model does not know " + ", ".join(f"AU{number:02d}" for number in numbers)
    if numbers and len(numbers) == of:
        raise UserError(f"{problem}, and the preset has no other units; choose units with --au")
    if numbers:
        warnings.warn(f"{problem}; using the rest", stacklevel=4)


def find_preset(name: str) -> Preset:
    """The preset of a name; the error lists all presets."""
    normalised = _normalised(name)
    if normalised not in PRESETS:
        near = get_close_matches(normalised, PRESETS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"--expression {name}: no such preset.{hint} Available: {', '.join(PRESETS)}")
    return PRESETS[normalised]


@dataclass(frozen=True)
class Sweep:
    """A change of one unit from an intensity to another over a number of frames, both ends included."""

    index: int
    start: float
    stop: float
    frames: int

    def over(self, base: np.ndarray) -> list[np.ndarray]:
        """The expressions: `base` with this unit changed."""
        expressions = []
        for value in np.linspace(self.start, self.stop, self.frames):
            expression = np.array(base, np.float32)
            expression[self.index] = value
            expressions.append(expression)
        return expressions


def parse_sweeps(text: str, units: Sequence[Unit] = UNITS) -> list[Sweep]:
    """The sweeps of "AU12=0:5:30" (from 0 to 5 in 30 frames); several are separated by commas and run one after the
    other."""
    sweeps = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, values = part.partition("=")
        pieces = values.split(":")
        if len(pieces) != 3 or not pieces[2].strip().isdigit() or int(pieces[2]) < 1:
            raise UserError(f"--sweep {part}: write UNIT=START:STOP:FRAMES, e.g. AU12=0:5:30")
        start, stop = (_intensity(value, part) for value in pieces[:2])
        sweeps.append(Sweep(find_unit(name, units), start, stop, int(pieces[2])))
    return sweeps


def transition(start: np.ndarray, target: np.ndarray, frames: int, easing: str = "smooth") -> list[np.ndarray]:
    """A transition between expressions: the first frame is `start`, the last `target`."""
    times = np.linspace(0, 1, frames) if frames > 1 else np.ones(1)
    return [mixture(start, target, EASINGS[easing](float(time))) for time in times]


def mixture(start: np.ndarray, target: np.ndarray, share: float) -> np.ndarray:
    """Linear interpolation: (1 - share) of one expression and share of another; a share above 1 exaggerates."""
    return ((1 - share) * np.asarray(start) + share * np.asarray(target)).astype(np.float32)


def describe(expression: np.ndarray, units: Sequence[Unit] = UNITS) -> str:
    """The active units as text, e.g. "AU06 2.5, AU12 3.5"."""
    active = [f"{unit.column} {value:.1f}" for unit, value in zip(units, expression, strict=True) if value > 0.05]
    return ", ".join(active) or "neutral"


def _number(name: str) -> int | None:
    match = re.fullmatch(r"(?:au)?\s*0*(\d+)(?:_[rc])?", _normalised(name).replace(" ", "_").removeprefix("_"))
    return int(match[1]) if match else None


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().strip("\"'").lower()).strip()


def _intensity(value: str, part: str) -> float:
    number = _number_in(value, part, "AU12=3.5")
    if not 0 <= number <= STRONGEST:
        raise UserError(f"{part}: intensities range from 0 to 5")
    return number


def _number_in(value: str, part: str, example: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{part!r}: {value!r} is not a number; write it like {example}") from None
