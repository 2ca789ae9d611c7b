"""Contact sheets: everybody of a set, and every action unit at three levels."""

from pathlib import Path

import cv2
import numpy as np

from data.sample_faces.clips import FPS, person
from data.sample_faces.expression import AU_NAMES, AU_TITLES
from data.sample_faces.layouts import cut_square, write_picture
from data.sample_faces.person import State
from data.sample_faces.rich import perform_rich

LEVELS = (0.0, 2.5, 5.0)
INK, PAPER = (40, 40, 40), 255


def people(identities: int, seed: int, size: int = 224, columns: int = 6) -> np.ndarray:
    """Everybody, turned a little this way and that."""
    cells = []
    for number in range(identities):
        yaw = (-16.0, 12.0, -6.0, 18.0)[number % 4]
        state = State(rotation=np.array([yaw, 2.0, 0.04 * yaw]), gaze=np.array([-0.6 * yaw, -1.0]))
        state.aus[AU_NAMES.index("AU12")] = (0.6, 2.2, 0.0, 1.4, 0.3)[number % 5]
        state.aus[AU_NAMES.index("AU25")] = (0.0, 2.0, 0.0, 1.0, 0.0)[number % 5]
        cells.append(person(seed, number).draw(state, 2 * size).image)
    cells = [cv2.resize(cell, (size, size), interpolation=cv2.INTER_AREA) for cell in cells]
    return _grid(cells, columns)


def units(number: int, seed: int, size: int = 132, columns: int = 3) -> np.ndarray:
    """Each unit at 0, 2.5 and 5 on one person."""
    subject = person(seed, number)
    rest = subject.draw(State(), 512)
    left, top, right, bottom = (float(value) for value in rest.box)
    side = 1.22 * max(right - left, bottom - top)
    centre = np.array([(left + right) / 2, (top + bottom) / 2 - 0.02 * side])
    cells = []
    for k, title in enumerate(AU_TITLES):
        strip = []
        for level in LEVELS:
            aus = np.zeros(len(AU_NAMES))
            aus[k] = level
            strip.append(cut_square(subject.draw(State(aus), 512).image, centre, side, size))
        cells.append(np.concatenate([_label(f"{AU_NAMES[k]} {title}: 0, 2.5, 5", 3 * size), np.concatenate(strip, 1)]))
    return _grid(cells, columns)


def _label(text: str, width: int) -> np.ndarray:
    strip = np.full((20, width, 3), PAPER, np.uint8)
    cv2.putText(strip, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return strip


def _half(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _grid(cells: list[np.ndarray], columns: int) -> np.ndarray:
    blank = np.full_like(cells[0], PAPER)
    cells = cells + [blank] * (-len(cells) % columns)
    gap = np.full((cells[0].shape[0], 6, 3), PAPER, np.uint8)
    rows = []
    for first in range(0, len(cells), columns):
        row = [piece for cell in cells[first : first + columns] for piece in (cell, gap)]
        rows.append(np.concatenate(row[:-1], 1))
    bar = np.full((6, rows[0].shape[1], 3), PAPER, np.uint8)
    return np.concatenate([piece for row in rows for piece in (row, bar)][:-1])


def rich(identities: int, seed: int, size: int = 112, columns: int = 4) -> np.ndarray:
    """People of a rich set, each at three moments of a clip."""
    cells = []
    for number in range(identities):
        rng = np.random.default_rng([seed, number, 0])
        subject = person(seed, number, "rich")
        performance = perform_rich(rng, 10, FPS / 8, 0, subject.identity.masculine)
        cells.append(np.concatenate([_half(subject.draw(performance.state(k), 2 * size).image) for k in (0, 4, 9)], 1))
    return _grid(cells, columns)


def write(folder: Path, identities: int, seed: int, variety: str = "plain") -> list[Path]:
    """Write the sheets of a variety."""
    if variety == "rich":
        write_picture(folder / "sample_rich.png", rich(identities, seed))
        return [folder / "sample_rich.png"]
    paths = [folder / "sample.png", folder / "sample_units.png"]
    for path, sheet in zip(paths, (people(identities, seed), units(0, seed)), strict=True):
        write_picture(path, sheet)
    return paths
