"""Measure whether drawn people are good enough for training: detectable, accurate, distinct, reproducible."""

import importlib.util
import tempfile
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from data.sample_faces.clips import Truth, person, render_clip, write_film
from data.sample_faces.expression import AU_NAMES, REGIONS, STRONGEST
from data.sample_faces.performance import Performance
from data.sample_faces.person import Person, State
from util.errors import UserError

EVERY = 5  # every n-th frame is measured
MAX_YAW = 30.0


@dataclass(frozen=True)
class Bars:
    """The thresholds that a variety must reach."""

    found: float  # share of the frames with exactly one face for dlib
    error: float  # median distance of dlib's points, in distances of the eyes' outer corners
    apart: float  # share of the frames whose nearest other clip is of the same person


BARS = {"plain": Bars(0.95, 0.08, 0.9), "rich": Bars(0.75, 0.08, 0.5)}
"""A rich set has hands in front of faces, poor phone cameras and other hair, so dlib detects and recognises fewer."""
CHANGED = 8  # 8-bit steps that count as a change of the picture


@dataclass
class Result:
    """One bar."""

    title: str
    passed: bool
    measured: str
    bar: str


def dlib_models() -> tuple:
    """dlib's face detector, its 68-point predictor and its face recogniser."""
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("dlib's models are missing; run: pip install face-recognition-models")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    predictor = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
    recogniser = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    return dlib.get_frontal_face_detector(), predictor, recogniser


@dataclass
class Observation:
    """dlib's results for one frame."""

    identity: int
    clip: int
    faces: int
    error: float  # mean distance of the 68 points over the distance of the outer corners of the eyes
    descriptor: np.ndarray | None


def observe(
    frame: np.ndarray, points: np.ndarray, models: tuple, identity: int, clip: int, recognise: bool
) -> Observation:
    """Compare one frame with its truth."""
    detector, predictor, recogniser = models
    faces = detector(frame, 1)
    if len(faces) != 1:
        return Observation(identity, clip, len(faces), np.nan, None)
    shape = predictor(frame, faces[0])
    found = np.array([(part.x, part.y) for part in shape.parts()], np.float64)
    scale = np.linalg.norm(points[36] - points[45])
    error = float(np.linalg.norm(found - points, axis=1).mean() / scale)
    descriptor = np.array(recogniser.compute_face_descriptor(frame, shape)) if recognise else None
    return Observation(identity, clip, 1, error, descriptor)


def observe_clips(clips: list[tuple[Path, Path]]) -> list[Observation]:
    """Measure some frames of every clip, except strongly turned heads."""
    from tqdm import tqdm

    from data.video import open_video

    models, seen = dlib_models(), []
    for number, (film, path) in enumerate(tqdm(clips, desc="look at clips", unit="clip")):
        truth = Truth.load(path)
        with open_video(film) as video:
            for k in range(0, len(truth), EVERY):
                if abs(truth.performance.rotation[k, 0]) < MAX_YAW:
                    recognise = k % (3 * EVERY) == 0
                    seen.append(observe(video[k], truth.landmarks[k], models, truth.identity, number, recognise))
    return seen


def check_detection(seen: list[Observation], bars: Bars) -> list[Result]:
    """The bars of dlib's detector and landmarks."""
    share = float(np.mean([one.faces == 1 for one in seen])) if seen else 0.0
    errors = [one.error for one in seen if one.faces == 1]
    median = float(np.median(errors)) if errors else np.inf
    found = f"{share:.1%} of {len(seen)} frames"
    distance = f"median {median:.1%} of the eyes' outer distance"
    return [
        Result(f"exactly one face found, |yaw| < {MAX_YAW:.0f}", share >= bars.found, found, f">= {bars.found:.0%}"),
        Result("dlib's 68 points against ours", median < bars.error, distance, f"< {bars.error:.0%}"),
    ]


def check_identities(seen: list[Observation], bars: Bars) -> Result:
    """Nearest other clip by dlib's face recogniser: is it the same person? And how far are the two kinds of pairs?"""
    known = [one for one in seen if one.descriptor is not None]
    title, bar = "identities repeats apart (dlib's recogniser, nearest other clip)", f">= {bars.apart:.0%}"
    if len({one.identity for one in known}) < 2 or len({one.clip for one in known}) < 3:
        return Result(title, True, "not measured: it takes two people and two clips of each", bar)
    vectors = np.array([one.descriptor for one in known])
    identities, clip = np.array([one.identity for one in known]), np.array([one.clip for one in known])
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    distance[clip[:, None] == clip[None]] = np.inf
    right = float(np.mean(identities[distance.argmin(1)] == identities))
    pairs, same = np.isfinite(distance), identities[:, None] == identities[None]
    within, between = np.median(distance[pairs & same]), np.median(distance[pairs & ~same])
    return Result(
        title, right >= bars.apart, f"{right:.1%}; median distance within {within:.2f}, between {between:.2f}", bar
    )


def unit_change(subject: Person, name: str, size: int = 256) -> tuple[int, int]:
    """Pixels that a unit's rise from 0 to 5 changes inside its region and elsewhere."""
    aus = np.zeros(len(AU_NAMES))
    rest = subject.draw(State(aus), size).image.astype(int)
    aus[AU_NAMES.index(name)] = STRONGEST
    changed = np.abs(subject.draw(State(aus), size).image - rest).max(-1) > CHANGED
    inside = region_mask(subject, name, size)
    return int((changed & inside).sum()), int((changed & ~inside).sum())


def region_mask(subject: Person, name: str, size: int) -> np.ndarray:
    """The region of a unit on the unposed face as pixels."""
    mask = np.zeros((size, size), bool)
    rows, columns = np.mgrid[0:size, 0:size]
    for left, top, right, bottom in REGIONS[name](subject.measures):
        corners = Person.project(np.array([[left, top, -20.0], [right, bottom, -20.0]]), size, size)
        for sign in (1, -1):
            x = size / 2 + sign * (corners[:, 0] - size / 2)
            mask |= (
                (columns + 0.5 >= x.min())
                & (columns + 0.5 <= x.max())
                & (rows + 0.5 >= corners[0, 1])
                & (rows + 0.5 <= corners[1, 1])
            )
    return mask


def units_local(subject: Person) -> Result:
    """The bar of units that change their own region and nothing else."""
    changes = {name: unit_change(subject, name) for name in AU_NAMES}
    weak = [name for name, (inside, _) in changes.items() if inside < 40]
    leaking = [name for name, (_, outside) in changes.items() if outside > 0]
    least = min(inside for inside, _ in changes.values())
    text = f"17 units; at least {least} pixels change inside, outside: {', '.join(leaking) or 'none'}"
    return Result(
        "a unit changes its region and nothing else", not weak and not leaking, text, "17 units, none outside"
    )


def drawing_time(subject: Person, truth: Truth) -> float:
    """CPU seconds per frame: the minimum of a dozen, since other programs may slow some down."""
    cv2.setNumThreads(1)
    spent = []
    for k in range(12):
        began = time.process_time()
        subject.draw(truth.performance.state(k % len(truth)), truth.size)
        spent.append(time.process_time() - began)
    return min(spent)


def repeatable(clips: list[tuple[Path, Path]], frames_in_all: int) -> list[Result]:
    """Draw one clip again: the same film, and how long drawing takes."""
    film, path = clips[len(clips) // 2]
    truth = Truth.load(path)
    frames, again = render_clip(truth.seed, truth.identity, truth.performance, truth.size, truth.fps)
    same = all(
        np.array_equal(getattr(truth, name), getattr(again, name)) for name in ("landmarks", "visible", "box", "mask")
    )
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one.mp4", Path(folder) / "two.mp4"
        for copy in (one, two):
            write_film(copy, frames, Fraction(truth.fps), None)
        same &= one.read_bytes() == two.read_bytes()
    title = "drawn again: the same truth; encoded twice: the same bytes"
    repeats = Result(title, same, "equal" if same else "different", "equal")
    return [repeats, speed(truth, frames_in_all)]


def speed(truth: Truth, frames_in_all: int) -> Result:
    """The bar of the time that drawing takes, without writing files."""
    each = drawing_time(person(truth.seed, truth.identity, truth.variety), truth)
    text = f"{each * 1e3:.0f} ms a frame on one core, about {each * frames_in_all / 2:.0f} s for the set on two"
    if truth.variety == "plain":
        return Result("drawing time (without writing files)", each * frames_in_all / 2 < 60, text, "< 60 s")
    plain = drawing_time(person(truth.seed, truth.identity), replace(truth, size=256, performance=_plain(truth)))
    title = f"drawing time at {truth.size} against that of a plain frame at 256 (it is to hold up to 160)"
    return Result(title, each <= plain or truth.size > 160, text, f"<= {plain * 1e3:.0f} ms")


def _plain(truth: Truth) -> Performance:
    """The same motion for a plain person."""
    p = truth.performance
    return Performance(p.aus, p.rotation, p.translation, p.gaze)


def run(clips: list[tuple[Path, Path]], seed: int, variety: str = "plain") -> list[Result]:
    """All bars on a set."""
    seen, bars = observe_clips(clips), BARS[variety]
    frames = sum(len(Truth.load(path)) for _, path in clips)
    results = [*check_detection(seen, bars), check_identities(seen, bars)]
    if variety == "plain":
        # A rich face has two uneven halves, hair that moves and noise: a unit has no region of its own there.
        results.append(units_local(person(seed, 0)))
    return [*results, *repeatable(clips, frames)]
