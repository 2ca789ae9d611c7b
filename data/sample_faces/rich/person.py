"""A person of a rich set: accessories, uneven expressions, a body and hair that move, in a scene seen by a camera."""

from functools import lru_cache

import cv2
import numpy as np

from data.sample_faces.curves import step
from data.sample_faces.parts import Part
from data.sample_faces.person import PIVOT, SUPERSAMPLING, Person, rotation_matrix
from data.sample_faces.rich.accessories import HAND, accessories, make_up, pattern_clothes
from data.sample_faces.rich.performance import AWAY, WIDEST, RichState
from data.sample_faces.rich.phone import photograph
from data.sample_faces.rich.scene import (
    ManyLamps,
    Scene,
    camera_matrix,
    draw_scene,
    layer_motion,
    paint_layers,
)
from data.sample_faces.rich.style import draw_rich_identity, draw_style

HIPS = np.array([0.0, 420.0, -90.0])  # what the body leans and turns about


class RichPerson(Person):
    """One identity of a rich set. The state holds the clip's number, which decides the scene."""

    moment = RichState

    def __init__(self, seed: int, number: int):
        self.seed, self.number = seed, number
        identity = draw_rich_identity(seed, number)
        self.style = draw_style(seed, number, identity)
        self.scene = lru_cache(maxsize=4)(self._draw_scene)
        super().__init__(identity)
        self.expressions.widest = WIDEST
        names = [part.name for part in self.parts]
        self.hand = np.concatenate([self._numbers(name) for name in names if name.startswith(HAND)])
        hanging = [self._numbers(name) for name in names if name == "long hair"]
        self.hanging = np.concatenate(hanging) if hanging else np.zeros(0, int)
        # At rest the hand is out of the scene, so nothing casts a shadow on it.
        self.transfer[self.hand] = self.receivers[self.hand]

    def _draw_scene(self, clip: int) -> Scene:
        return draw_scene(self.seed, self.number, clip)

    def _numbers(self, name: str) -> np.ndarray:
        return np.arange(self.slices[name].start, self.slices[name].stop)

    def _parts(self, rest: np.ndarray) -> list[Part]:
        # Both sides of the face meet over two centimetres.
        self.left_share = step(-10, 10, rest[..., 0])[..., None]
        rng = np.random.default_rng([self.seed, self.number, 33])
        parts = super()._parts(rest)
        make_up(parts[0], self.style, self.measures)
        clothes = next(part for part in parts if part.name == "clothes")
        pattern_clothes(clothes, self.identity, self.style, rng)
        return [*parts, *accessories(self.identity, self.style, self.measures, self.lids, rng)]

    # --- a moment -------------------------------------------------------------------------------------------------

    def face(self, state: RichState) -> np.ndarray:
        ex = self.expressions
        moved = np.stack([state.aus, state.left]).astype(np.float32) @ ex.basis
        right, left = moved.reshape(2, *ex.rest.shape)
        p = ex.rest + right + (left - right) * self.left_share
        p = ex.jaw_rotation(state.aus)(p, ex.jaw_weight)
        for side, aus in enumerate((state.aus, state.left)):
            self.lids.apply_one(p, side, *ex.lid_state(aus, state.gaze[1]))
        return p

    def _unposed(self, state: RichState) -> tuple[np.ndarray, np.ndarray]:
        points, normals = super()._unposed(state)
        if state.tongue.any():
            points[self.slices["tongue"]] += np.array([0.0, -state.tongue[1], state.tongue[0]])
        return points, normals

    def pose(self, state: RichState) -> tuple[np.ndarray, np.ndarray]:
        rest, flat = self._unposed(state)
        points, normals = self.posed(rest, flat, state)
        if len(self.hanging):
            matrix = rotation_matrix(*state.hair)
            moved = (rest[self.hanging] - PIVOT) @ matrix.T + PIVOT + state.translation
            points[self.hanging] = rest[self.hanging] + self.follows[self.hanging, None] * (moved - rest[self.hanging])
        right, lean, turn = state.body
        matrix = rotation_matrix(turn, 0.0, lean)
        points, normals = (points - HIPS) @ matrix.T + HIPS + np.array([right, 0, 0]), normals @ matrix.T
        x, y, z, roll = state.hand
        matrix = rotation_matrix(0.0, 0.0, roll)
        points[self.hand] = rest[self.hand] @ matrix.T + np.array([x, y, z])
        normals[self.hand] = flat[self.hand] @ matrix.T
        return points, normals

    def lamps_of(self, state: RichState) -> ManyLamps:
        return self.scene(state.clip).lamps.turned(*state.light)

    def screen(self, points: np.ndarray, state: RichState, size: int) -> np.ndarray:
        seen = self.project(points, size, size)
        whole = np.concatenate([camera_matrix(state.camera), [[0, 0, 1]]])
        framing = np.concatenate([camera_matrix(self.scene(state.clip).framing), [[0, 0, 1]]])
        matrix = whole @ framing
        seen[:, :2] = seen[:, :2] @ matrix[:2, :2].T + matrix[:2, 2] * size
        if state.hand[1] > AWAY / 2:
            seen[self.hand, 1] = 2.0 * AWAY  # below the picture, whatever the camera does
        return seen

    def surroundings(self, state: RichState, fine: int) -> np.ndarray:
        # One sample per pixel: more would only matter at the person's edge.
        painted = paint_layers(self.scene(state.clip).layers, state.camera, fine // SUPERSAMPLING)
        return cv2.resize(painted, (fine, fine), interpolation=cv2.INTER_NEAREST)

    def expose(self, canvas: np.ndarray, state: RichState) -> np.ndarray:
        scene = self.scene(state.clip)
        through = scene.light_through(canvas.shape[0])
        if through is not None:
            canvas = canvas * through
        grain = np.random.default_rng([*scene.seed, state.frame])
        return photograph(canvas, scene.phone, 1.0, grain)

    def motion_behind(self, first: RichState, second: RichState, size: int) -> tuple[np.ndarray, np.ndarray]:
        return layer_motion(self.scene(first.clip).layers, first.camera, second.camera, size)


@lru_cache(maxsize=2)
def rich_person(seed: int, number: int) -> RichPerson:
    """A person of the rich set drawn from `seed`, cached for the next clip."""
    return RichPerson(seed, number)
