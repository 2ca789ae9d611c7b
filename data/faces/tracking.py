"""One face's landmarks for every frame of a clip: selects a person, fills the gaps, and reports both."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.faces.detector import POINTS, Detector
from data.faces.trajectories import SEARCH_EVERY, Trajectories, Trajectory, follow, spread
from util.archives import read_npz
from util.errors import UserError
from util.files import replacing
from util.reading import reading

ON_MISSING = ("interpolate", "hold", "skip", "error")
SEVERAL = ("tracked", "largest")
"""Whom to follow; a number N: the N-th from the left in the first frame with faces."""


class Status(IntEnum):
    """The origin of a frame's points."""

    MISSING = 0
    DETECTED = 1  # a detector saw the face in this frame
    FOLLOWED = 2  # landmarks at the face's last position, whose look has not changed
    FILLED = 3  # interpolated or held


@dataclass(eq=False)
class Track:
    """Landmarks of one face per frame; NaN in frames without a face."""

    points: np.ndarray  # (N, 68, 2) float32, pixels
    boxes: np.ndarray  # (N, 4) float32: left, top, right, bottom
    scores: np.ndarray  # (N,)
    status: np.ndarray  # (N,) of Status
    person: np.ndarray  # (N,) which trajectory, -1 for none
    faces: int = 0  # trajectories seen in the clip
    cuts: list[int] = field(default_factory=list)
    name: str = "clip"

    def __len__(self) -> int:
        return len(self.points)

    @property
    def present(self) -> np.ndarray:
        """Which frames have points."""
        return self.status != Status.MISSING

    def report(self) -> dict:
        """Counts of frames with, filled and without a face, faces seen, cuts and the longest gap."""
        seen = (self.status == Status.DETECTED) | (self.status == Status.FOLLOWED)
        return {
            "name": self.name,
            "frames": len(self),
            "found": int(seen.sum()),
            "detected": int((self.status == Status.DETECTED).sum()),
            "filled": int((self.status == Status.FILLED).sum()),
            "without": int((self.status == Status.MISSING).sum()),
            "longest_gap": longest_run(~seen),
            "faces": self.faces,
            "cuts": len(self.cuts),
        }

    def summary(self) -> str:
        """The report in one line."""
        report = self.report()
        return (
            f"{self.name}: face in {report['found']} of {report['frames']} frames, {report['filled']} filled, "
            f"{report['without']} without, longest gap {report['longest_gap']}, "
            f"{report['faces']} faces and {report['cuts']} cuts in the clip"
        )

    def save(self, path: Path | str) -> None:
        """Write an npz that `--landmarks file` and `Track.load` read."""
        with replacing(Path(path)) as temporary:
            np.savez_compressed(
                temporary,
                points=self.points,
                boxes=self.boxes,
                scores=self.scores,
                status=self.status,
                person=self.person,
                faces=self.faces,
                cuts=np.array(self.cuts, dtype=np.int64),
                name=self.name,
            )

    @staticmethod
    def load(path: Path | str) -> "Track":
        """Read what `save` wrote."""
        what = "not a file of tracked landmarks"
        arrays = read_npz(path, what)
        with reading(path, what):
            single = {"faces": int(arrays.pop("faces")), "name": str(arrays.pop("name"))}
            found = Track(**arrays | single | {"cuts": arrays["cuts"].reshape(-1).tolist()})
            rows = {"points": (68, 2), "boxes": (4,), "scores": (), "status": (), "person": ()}
            wrong = [name for name, shape in rows.items() if arrays[name].shape != (len(found.points), *shape)]
            if wrong:
                raise ValueError(f"{', '.join(wrong)} with a wrong shape")
            return found


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def track(
    frames: Iterable[np.ndarray],
    detector: Detector,
    *,
    name: str = "clip",
    fps: Fraction | float = 25,
    on_missing: str = "interpolate",
    smooth: float = 0.0,
    several: str | int = "tracked",
    search_every: int = SEARCH_EVERY,
) -> Track:
    """Landmarks of one face through a clip, whose `name` appears in errors and selects the file of `--landmarks file`.

    several: "tracked" stays with the person who takes most of the clip; "largest" takes each frame's largest face; a
    number N stays with the N-th person from the left in the first frame with faces.
    on_missing: what fills frames without a face: "interpolate" between its neighbours, "hold" the last points, "skip"
    (rows stay NaN) or "error". smooth: strength of the one-euro filter, 0 (off) to 1. search_every=1 searches every
    frame and follows nothing.
    """
    if on_missing not in ON_MISSING or not (several in SEVERAL or isinstance(several, int)):
        raise UserError(f"on_missing is one of {', '.join(ON_MISSING)}; several of {', '.join(SEVERAL)}, or a number")
    found = follow(frames, detector.clip(name), search_every=search_every)
    result = choose(found, several, name)
    if not result.present.any() and on_missing != "skip":
        raise UserError(
            f"{name}: no face in any of its {len(result)} frames; "
            "remove the clip, or try --face_detector cnn or a larger --upsample"
        )
    if smooth:
        smooth_track(result, smooth, float(fps))
    fill(result, on_missing)
    return result


def choose(found: Trajectories, several: str | int, name: str) -> Track:
    """The selected face of each frame."""
    count = found.frames
    result = Track(
        points=np.full((count, POINTS, 2), np.nan, np.float32),
        boxes=np.full((count, 4), np.nan, np.float32),
        scores=np.full(count, np.nan, np.float32),
        status=np.full(count, Status.MISSING, np.uint8),
        person=np.full(count, -1, np.int32),
        faces=len(found.people),
        cuts=list(found.cuts),
        name=name,
    )
    if several == "largest":
        for index in range(count):
            here = [person for person in found.people if index in person.faces]
            if here:
                _put(result, found.people, max(here, key=lambda one: one.faces[index].size), [index])
        return result
    wanted = found.people and isinstance(several, int) and _from_left(found.people, several, name)
    taken = np.zeros(count, dtype=bool)
    for person in sorted(found.people, key=lambda one: (one is not wanted, -one.weight)):
        span = slice(person.first, person.last + 1)
        if not taken[span].any():
            taken[span] = True
            _put(result, found.people, person, person.faces)
    return result


def _from_left(people: list[Trajectory], number: int, name: str) -> Trajectory:
    """The N-th person from the left in the first frame with faces."""
    first = min(person.first for person in people)
    there = sorted(
        (person for person in people if person.first == first),
        key=lambda one: one.faces[first].box[0] + one.faces[first].box[2],
    )
    if number > len(there):
        raise UserError(f"--several {number}: {name} shows {len(there)} face(s) in the first frame with faces")
    return there[number - 1]


def _put(result: Track, people: list[Trajectory], person: Trajectory, indices: Iterable[int]) -> None:
    for index in indices:
        face = person.faces[index]
        result.points[index], result.boxes[index], result.scores[index] = face.points, face.box, face.score
        result.status[index] = Status.DETECTED if index in person.checked else Status.FOLLOWED
        result.person[index] = people.index(person)


def fill(result: Track, on_missing: str) -> None:
    """Give frames without a face points, in place: interpolate within a shot; across a cut hold the nearer face."""
    missing = np.flatnonzero(~result.present)
    if on_missing == "skip" or not len(missing):
        return
    if on_missing == "error":
        raise UserError(
            f"{result.name}: no face in {len(missing)} of {len(result)} frames (first: frame {missing[0]}); "
            "use --on_missing interpolate, hold or skip, or remove the clip"
        )
    known = np.flatnonzero(result.present)
    shots = np.searchsorted(result.cuts, np.arange(len(result)), side="right")
    for index in missing:
        position = np.searchsorted(known, index)
        before = known[position - 1] if position else None
        after = known[position] if position < len(known) else None
        share, before, after = _neighbours(index, before, after, shots, on_missing)
        for array in (result.points, result.boxes, result.scores):
            array[index] = (1 - share) * array[before] + share * array[after]
        result.status[index] = Status.FILLED


def _neighbours(index, before, after, shots, on_missing):
    """The two known frames to interpolate a missing one from, and the weight of `after`."""
    if before is None or (after is not None and shots[before] != shots[index] == shots[after]):
        return 0.0, after, after
    if after is None or on_missing == "hold" or shots[after] != shots[before]:
        return 0.0, before, before
    return (index - before) / (after - before), before, after


class OneEuro:
    """Smooths points over time: strongly at rest, lightly in motion (One Euro filter, Casiez et al., CHI 2012)."""

    def __init__(self, strength: float, fps: float, beta: float = 4.0, speed_cutoff: float = 1.0):
        self._cutoff = 0.5 / strength  # Hz at rest
        self._beta, self._speed_cutoff, self._fps = beta, speed_cutoff, fps
        self._value = self._speed = None

    def _share(self, cutoff):
        """Weight of the newest value in a first-order low pass of this cutoff frequency."""
        time = self._fps / (2 * np.pi * cutoff)
        return 1 / (1 + time)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The next frame's points, smoothed; speed is in face sizes per second, so that it is independent of scale."""
        if self._value is None:
            self._value, self._speed = points.astype(np.float64), np.zeros(points.shape)
            return points
        speed = (points - self._value) * self._fps / max(spread(points), 1e-6)
        self._speed = self._speed + self._share(self._speed_cutoff) * (speed - self._speed)
        pace = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        self._value = self._value + self._share(self._cutoff + self._beta * pace) * (points - self._value)
        return self._value.astype(points.dtype)


def smooth_track(result: Track, strength: float, fps: float) -> None:
    """Smooth the points in place; the filter restarts at every gap, cut and change of person."""
    if not 0 < strength <= 1:
        raise UserError(f"--smooth {strength}: the range is 0 (off) to 1")
    smoother, before = None, None
    for index in np.flatnonzero(result.present):
        linked = before == index - 1 and result.person[before] == result.person[index]
        if not linked or index in result.cuts:
            smoother = OneEuro(strength, fps)
        result.points[index] = smoother(result.points[index])
        before = index
