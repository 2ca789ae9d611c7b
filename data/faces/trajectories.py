"""Faces followed through a clip: search once, then look near each face's expected box, search again on doubt."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import cv2
import numpy as np

from data.faces.detector import NEAR_MARGIN, Detector, Face, box_centre, box_size, overlap

SEARCH_EVERY = 25  # frames between full-frame searches for new people
PATIENCE = 25  # frames that a face may be missing and keep its identity
UNVERIFIED = 3  # consecutive frames accepted by an unchanged appearance alone
SAME_APPEARANCE = 0.9  # correlation of a face's box with its content a frame ago, above which nothing has changed
LONGEST_PAUSE = 8  # frames between searches while no face is visible
CUT_COLOURS, CUT_APPEARANCE = 0.1, 0.25  # both changes above these between two frames: a cut
MOVED = 0.12  # points may move this part of a face's size in an unverified frame


@dataclass(eq=False)
class Trajectory:
    """One person's face from its first to its last visible frame; faces by frame number."""

    faces: dict[int, Face] = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)  # frames in which a detector saw the face

    @property
    def first(self) -> int:
        return min(self.faces)

    @property
    def last(self) -> int:
        return max(self.faces)

    @property
    def weight(self) -> float:
        """The face's share of the clip, which selects the main person."""
        return sum(face.size for face in self.faces.values())


@dataclass
class Trajectories:
    """All faces of a clip, the cuts in it, and how often the whole frame was searched."""

    people: list[Trajectory]
    frames: int
    cuts: list[int]
    searches: int
    frame_size: tuple[int, int]


class Scene:
    """Detects cuts: colours and layout of the picture change at the same time."""

    def __init__(self):
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def is_cut(self, frame: np.ndarray) -> bool:
        """Whether this frame belongs to another shot than the one before."""
        step = max(1, min(frame.shape[:2]) // 192)
        tiny = cv2.resize(np.ascontiguousarray(frame[::step, ::step]), (32, 32), interpolation=cv2.INTER_AREA)
        colours = colour_shares(tiny)
        last, self._last = self._last, (colours, tiny)
        if last is None:
            return False
        return colour_change(colours, last[0]) > CUT_COLOURS and 1 - correlation(tiny, last[1]) > CUT_APPEARANCE


def colour_shares(picture: np.ndarray) -> np.ndarray:
    """Smoothed histograms of the three channels, each summing to one third."""
    bins = [np.bincount(picture[..., channel].ravel() >> 4, minlength=16) for channel in range(3)]
    smooth = [np.convolve(np.pad(counts, 1, mode="edge"), (0.25, 0.5, 0.25), "valid") for counts in bins]
    return np.concatenate(smooth) / (3 * picture[..., 0].size)


def colour_change(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the picture that would have to be repainted: 0 for the same colours, 1 for none in common."""
    return float(np.abs(one - other).sum() / 2)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the brightness of two pictures: 1 for the same look, 0 where one of them is flat."""
    one, other = one.sum(-1, dtype=np.float64), other.sum(-1, dtype=np.float64)
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one * one).sum() * (other * other).sum())
    return float((one * other).sum() / scale) if scale > 1e-6 else 0.0


def look(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A thumbnail of a box, to compare over time."""
    left, top = (max(0, int(edge)) for edge in box[:2])
    view = frame[top : max(int(box[3]), top + 1), left : max(int(box[2]), left + 1)]
    if not view.size:
        return np.zeros((24, 24, 3), np.uint8)
    step = max(1, min(view.shape[:2]) // 96)
    return cv2.resize(np.ascontiguousarray(view[::step, ::step]), (24, 24), interpolation=cv2.INTER_AREA)


def spread(points: np.ndarray) -> float:
    """Size of a face by its points: their root mean square distance from their mean."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def moved_box(box: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The box moved and scaled as the points in it have."""
    scale = spread(after) / max(spread(before), 1e-6)
    centre = after.mean(0) + (box_centre(box) - before.mean(0)) * scale
    half = np.array([box[2] - box[0], box[3] - box[1]]) * scale / 2
    return np.concatenate([centre - half, centre + half])


class _Person:
    """The state of one followed face."""

    def __init__(self, index: int, frame: np.ndarray, face: Face):
        self.trajectory = Trajectory()
        self.colours = colour_shares(look(frame, face.box))
        self.unseen = self.unverified = 0
        self.box = face.box
        self.see(index, frame, face, checked=True)

    def see(self, index: int, frame: np.ndarray, face: Face, checked: bool) -> None:
        """Update the face's position; keep its detected box relative to its points."""
        self.face = face
        self.trajectory.faces[index] = face
        if checked:
            self.trajectory.checked.add(index)
        self.unverified = 0 if checked else self.unverified + 1
        self.unseen = 0
        self.box = face.box
        self.shown = look(frame, self.box)

    def remember(self, rate: float = 0.1) -> None:
        """Update the face's colours with a slow moving average."""
        self.colours = self.colours + rate * (colour_shares(self.shown) - self.colours)

    def fits(self, box: np.ndarray) -> float:
        """How well a found box continues this face: above 0 if it does; the reach grows while the face is missing."""
        ratio = box_size(box) / max(box_size(self.box), 1e-6)
        reach = (NEAR_MARGIN + 0.2 * self.unseen) * box_size(self.box)
        distance = np.linalg.norm(box_centre(box) - box_centre(self.box)) / reach
        if not 0.5 < ratio < 2 or distance > 1:
            return 0.0
        return float(1.01 - distance) * min(ratio, 1 / ratio)


class Follower:
    """Follows all faces of one clip; make one for every clip, since it keeps state."""

    def __init__(self, detector: Detector, search_every: int = SEARCH_EVERY, patience: int = PATIENCE):
        self._detector = detector
        self._search_every = search_every
        self._patience = patience
        self._scene = Scene()
        self._people: list[_Person] = []
        self._ended: list[Trajectory] = []
        self._waiting: list[tuple[int, np.ndarray]] = []  # frames without a face that have not been searched
        self._last_search, self._pause = -1, 1
        self._cuts: list[int] = []
        self._searches = 0

    def run(self, frames: Iterable[np.ndarray]) -> Trajectories:
        """Process the frames in one pass, with only a few in memory."""
        size, count = (0, 0), 0
        for index, (frame, faces) in enumerate(self._with_faces(frames)):
            size, count = frame.shape[:2], index + 1
            self._step(index, frame, faces)
        people = [*self._ended, *(person.trajectory for person in self._people)]
        return Trajectories(sorted(people, key=lambda one: one.first), count, self._cuts, self._searches, size)

    def _with_faces(self, frames) -> Iterator[tuple[np.ndarray, list[Face] | None]]:
        """Frames with all their faces, detected in batches, if every frame is searched; else without."""
        if self._search_every > 1 and self._detector.can_follow:
            yield from ((frame, None) for frame in frames)
            return
        frames = iter(frames)
        while batch := list(islice(frames, self._detector.batch_size)):
            yield from zip(batch, self._detector.detect(batch), strict=True)

    def _step(self, index, frame, faces):
        if self._scene.is_cut(frame):
            self._cuts.append(index)
            self._end(self._people)
            self._waiting, self._last_search, self._pause = [], index - 1, 1
        for person in self._people:
            person.unseen += 1
        if faces is None:
            self._follow(index, frame)
            if index < self._last_search + (self._search_every if self._all_seen() else self._pause):
                self._waiting = [] if self._all_seen() else [*self._waiting, (index, frame)]
                return
            faces = self._detector.detect([frame])[0]
        self._searches += 1
        self._take(index, frame, faces)
        self._plan(index)

    def _all_seen(self) -> bool:
        return bool(self._people) and not any(person.unseen for person in self._people)

    def _plan(self, index):
        """Schedule the next search: rarely while all faces are tracked, at growing intervals while one is missing.

        Intervals shrink again slowly, so that a face that is lost often does not cost a search each time.
        """
        self._end([person for person in self._people if person.unseen > self._patience])
        if self._all_seen():
            self._pause = max(1, self._pause // 2)
        else:
            self._pause = min(2 * self._pause, LONGEST_PAUSE, self._search_every)
        self._last_search, self._waiting = index, []

    def _end(self, people):
        people = list(people)
        self._ended += [person.trajectory for person in people]
        self._people = [person for person in self._people if person not in people]

    # following

    def _follow(self, index, frame):
        """Find each known face again, the most recently seen first, so that faces do not swap identities."""
        for person in sorted(self._people, key=lambda one: one.unseen):
            face = self._unchanged(frame, person) if person.unseen == 1 else None
            if face is not None:
                person.see(index, frame, face, checked=False)
                continue
            face = self._near(index, frame, person)
            if face is not None:
                person.see(index, frame, face, checked=True)

    def _unchanged(self, frame, person) -> Face | None:
        """The face in a frame that shows almost the same in its box; only for a while without a new detection."""
        if person.unverified >= UNVERIFIED or correlation(look(frame, person.box), person.shown) < SAME_APPEARANCE:
            return None
        before = person.face.points
        points = self._detector.landmarks_in_box(frame, person.box)
        if np.linalg.norm(points - before, axis=1).mean() > MOVED * spread(before):
            return None
        return Face(moved_box(person.box, before, points), points, person.face.score)

    def _near(self, index, frame, person) -> Face | None:
        """The face detected near its last position, unless it is another tracked face."""
        margin = NEAR_MARGIN * person.unseen
        found = self._detector.find_near(frame, person.box, margin)
        others = [one.box for one in self._people if one is not person and not one.unseen]
        free = [(box, score) for box, score in found if not any(overlap(box, other) > 0.4 for other in others)]
        box, score = max(free, key=lambda one: person.fits(one[0]), default=(None, 0.0))
        if box is None or not person.fits(box) or self._fits_other_person(frame, box, person):
            return None
        return Face(box, self._detector.landmarks_in_box(frame, box), score)

    def _fits_other_person(self, frame, box, person) -> bool:
        """Whether a box fits another face better that is still missing in this frame."""
        rivals = [one for one in self._people if one is not person and one.unseen and one.fits(box)]
        if not rivals:
            person.remember()
            return False
        colours = colour_shares(look(frame, box))
        claims = [one.fits(box) * (1 - colour_change(colours, one.colours)) for one in (person, *rivals)]
        return max(claims) > claims[0]

    # searching

    def _take(self, index, frame, faces):
        """Match the faces of a searched frame to trajectories; the others start new ones."""
        faces = list(faces)
        for person in [one for one in self._people if not one.unseen]:
            faces = [face for face in faces if overlap(face.box, person.box) < 0.3]
        pairs = [(person.fits(face.box), person, face) for person in self._people if person.unseen for face in faces]
        for fit, person, face in sorted(pairs, key=lambda pair: -pair[0]):
            if fit > 0 and person.unseen and any(face is one for one in faces):
                faces = [one for one in faces if one is not face]
                self._track_backwards(person, face)
                person.see(index, frame, face, checked=True)
        for face in faces:
            person = _Person(index, frame, face)
            self._track_backwards(person, face)
            self._people.append(person)

    def _track_backwards(self, person, face):
        """Track a newly visible face backwards through the frames that were not searched."""
        box = face.box
        for index, frame in reversed(self._waiting):
            if index in person.trajectory.faces:
                return
            fitting = [one for one in self._detector.find_near(frame, box) if overlap(one[0], box) > 0.2]
            if not fitting:
                return
            box, score = max(fitting, key=lambda one: overlap(one[0], box))
            person.trajectory.faces[index] = Face(box, self._detector.landmarks_in_box(frame, box), score)
            person.trajectory.checked.add(index)


def follow(frames: Iterable[np.ndarray], detector: Detector, **settings) -> Trajectories:
    """Follow all faces of a clip."""
    return Follower(detector, **settings).run(frames)
