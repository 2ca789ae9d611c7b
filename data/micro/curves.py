"""Curves over the frames of a clip: their onset, apex and offset, and a picture of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (900, 460)
"""Width and height of a chart."""
FRAME = (80, 56, 24, 84)
"""Space around its plane: left, top, right, bottom."""
COLOURS = ((31, 98, 178), (214, 98, 20))
COMPARED, GREY, INK = (130, 130, 130), (222, 222, 222), (40, 40, 40)
SHARE = 0.1
"""A movement lasts while it is above this share of the way from rest to its apex."""


class Marks(NamedTuple):
    """Frame numbers of a movement's onset, apex and offset."""

    onset: int | None
    apex: int | None
    offset: int | None


def spot(curve: Sequence[float]) -> Marks:
    """Onset, apex and offset of a movement by how far each frame has moved."""
    values = smoothed(curve)
    if not len(values) or np.ptp(values) == 0:
        return Marks(None, None, None)
    apex = int(values.argmax())
    before, after = values[: apex + 1], values[apex:]
    return Marks(int(_at_rest(before).max()), apex, apex + int(_at_rest(after).min()))


def _at_rest(side: np.ndarray) -> np.ndarray:
    """The frames on one side of the apex in which the face rests."""
    return np.flatnonzero(side <= side.min() + SHARE * (side.max() - side.min()))


def smoothed(curve: Sequence[float]) -> np.ndarray:
    """A curve smoothed against jitter: each value is averaged with its neighbours."""
    values = np.asarray(curve, np.float64)
    if len(values) < 5:
        return values
    return np.convolve(np.pad(values, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson correlation of two curves; 0 if one of them is flat."""
    one, other = (np.asarray(curve, np.float64) - np.mean(curve) for curve in (one, other))
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 0 else 0.0


class Chart:
    """A plane of frames and values for curves and marks; drawn twice as large, so that lines are smooth."""

    def __init__(self, title: str, unit: str, frames: int, highest: float):
        self.picture = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]), "white")
        self.draw = ImageDraw.Draw(self.picture)
        self.frames, self.step = frames, _step(highest)
        self.highest = self.step * np.ceil(max(highest, 1e-9) / self.step)
        self._axes(title, unit)

    def position(self, frame: float, value: float) -> tuple[float, float]:
        """Where a value at a frame is in the picture."""
        left, top, right, bottom = FRAME
        width, height = SIZE[0] - left - right, SIZE[1] - top - bottom
        x = left + width * frame / max(1, self.frames - 1)
        return 2 * x, 2 * (top + height * (1 - value / self.highest))

    def curve(self, values: Sequence[float], colour: tuple[int, int, int]) -> None:
        """A line through the values."""
        self.draw.line([self.position(*point) for point in enumerate(values)], colour, 5, joint="curve")

    def marks(self, marks: Marks, colour: tuple[int, int, int], row: int) -> None:
        """Dashed lines at onset, apex and offset, with their frame numbers in a row of their own below the plane."""
        known = {name: frame for name, frame in marks._asdict().items() if frame is not None}
        positions = [self.position(frame, 0) for frame in known.values()]
        for x, low in positions:
            for y in np.arange(2 * FRAME[1], low, 18):
                self.draw.line([(x, y), (x, min(y + 9, low))], colour, 3)
        labels = _apart([x / 2 for x, _ in positions])
        for (name, frame), x in zip(known.items(), labels, strict=True):
            self.text((x, SIZE[1] - FRAME[3] + 26 + 15 * row), f"{name} {frame}", colour, anchor="mm")

    def text(self, position: tuple[float, float], words: str, colour=INK, size: int = 13, anchor: str = "lm") -> None:
        """Words at a position, in the pixels of the finished picture."""
        font = ImageFont.load_default(2 * size)
        self.draw.text((2 * position[0], 2 * position[1]), words, colour, font=font, anchor=anchor)

    def array(self) -> np.ndarray:
        """The picture (H, W, 3) in bytes."""
        return np.asarray(self.picture.resize(SIZE, Image.Resampling.BOX))

    def _axes(self, title: str, unit: str) -> None:
        for value in np.arange(0, self.highest + self.step / 2, self.step):
            self.draw.line([self.position(0, value), self.position(self.frames - 1, value)], GREY, 2)
            x, y = self.position(0, value)
            self.text((x / 2 - 8, y / 2), f"{value:.4g}", anchor="rm")
        every = max(1, int(_step(self.frames)))
        for frame in range(0, self.frames, every):
            x, y = self.position(frame, 0)
            self.text((x / 2, y / 2 + 11), str(frame), anchor="mm")
        self.text((FRAME[0], 18), title, size=16)
        self.text((FRAME[0], 40), unit)


def _apart(centres: list[float], gap: float = 66) -> list[float]:
    """Rising positions at least a label's width apart, and none beyond the right edge."""
    for index in range(1, len(centres)):
        centres[index] = max(centres[index], centres[index - 1] + gap)
    limit = SIZE[0] - gap / 2
    for index in reversed(range(len(centres))):
        centres[index] = min(centres[index], limit)
        limit = centres[index] - gap
    return centres


def _step(highest: float) -> float:
    """A round distance between the lines of an axis, of which there are four to ten."""
    rough = max(highest, 1e-9) / 5
    power = 10 ** np.floor(np.log10(rough))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough))


def movement_chart(
    title: str, unit: str, curves: Mapping[str, Sequence[float]], coded: Marks | None = None
) -> np.ndarray:
    """Two curves with their onset, apex and offset, and the marks that a person has coded, as a picture."""
    frames = max(map(len, curves.values()))
    chart = Chart(title, unit, frames, max(max(values, default=0) for values in curves.values()))
    if coded is not None:
        chart.marks(coded, COMPARED, len(curves))
        chart.text((SIZE[0] - FRAME[2], 40), "grey: as coded", COMPARED, anchor="rm")
    for row, ((name, values), colour) in enumerate(zip(curves.items(), COLOURS, strict=False)):
        chart.curve(values, colour)
        chart.marks(spot(values), colour, row)
        chart.text((SIZE[0] - FRAME[2] - 150 * (len(curves) - row - 1), 18), name, colour, anchor="rm", size=14)
    return chart.array()
