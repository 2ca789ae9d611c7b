"""A drawable person: all grids in one atlas, posed, lit and rasterised, with the ground truth of the picture."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from data.sample_faces import parts as make
from data.sample_faces.curves import step
from data.sample_faces.expression import AU_NAMES, Expressions
from data.sample_faces.hair import hair, under_hair
from data.sample_faces.head import build_rest, weld_normals
from data.sample_faces.identity import Identity
from data.sample_faces.landmarks import Landmarks
from data.sample_faces.light import Lamps, receivers, shadow, transfer
from data.sample_faces.parts import EYE_SHININESS, Part, eyeball_directions, pose_eyeball
from data.sample_faces.raster import Mesh, Samples, grid_triangles, lookup, rasterise
from data.sample_faces.skin import TEXELS, Skin

PIVOT = np.array([0.0, 66.0, -98.0])  # where the head turns on the neck
CAMERA_DISTANCE = 1150.0  # from the origin
VIEW = 322.0  # millimetres that the picture's height covers at the origin
VIEW_CENTRE = 16.0  # height at the middle of the picture
SUPERSAMPLING = 2


@dataclass
class State:
    """One moment of a performance. Angles in degrees: yaw to the picture's right, pitch down, roll clockwise."""

    aus: np.ndarray = field(default_factory=lambda: np.zeros(len(AU_NAMES)))
    rotation: np.ndarray = field(default_factory=lambda: np.zeros(3))  # yaw, pitch, roll of the head
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))  # of the head, millimetres
    gaze: np.ndarray = field(default_factory=lambda: np.zeros(2))  # yaw, pitch of the eyes in the head


@dataclass
class Picture:
    """A frame and its ground truth. Points are pixels, x right and y down, (0, 0) the centre of the first pixel."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) bool: the face, from hairline to chin, without what hides it
    landmarks: np.ndarray  # (68, 2) float32, as people annotate pictures (see Landmarks)
    visible: np.ndarray  # (68,) bool
    points: np.ndarray  # (68, 3) float32: fixed points of the mesh; x, y in pixels, depth in millimetres
    box: np.ndarray  # (4,) float32 left, top, right, bottom of the landmarks


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turns column vectors: roll first, then pitch, then yaw; degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def grid_normals(p: np.ndarray) -> np.ndarray:
    """Area-weighted normals of a grid's vertices, not yet of unit length."""
    d1, d2 = p[1:, 1:] - p[:-1, :-1], p[1:, :-1] - p[:-1, 1:]
    face = np.stack(
        [
            d1[..., 1] * d2[..., 2] - d1[..., 2] * d2[..., 1],
            d1[..., 2] * d2[..., 0] - d1[..., 0] * d2[..., 2],
            d1[..., 0] * d2[..., 1] - d1[..., 1] * d2[..., 0],
        ],
        -1,
    )
    normals = np.zeros_like(p)
    for rows in (slice(1, None), slice(None, -1)):
        for columns in (slice(1, None), slice(None, -1)):
            normals[rows, columns] += face
    return normals


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.sqrt((v * v).sum(-1, keepdims=True) + 1e-12)


class Person:
    """The constant parts of one identity, and the renderer of its frames."""

    moment = State
    """The state class of a moment; its defaults are the face at rest."""

    def __init__(self, identity: Identity):
        self.identity = identity
        rest, rows, measures = build_rest(identity)
        self.rows, self.measures = rows, measures
        self.expressions = Expressions(rest, rows, measures)
        self.lids = self.expressions.lids
        self.landmarks = Landmarks(self.expressions.shape(np.zeros(len(AU_NAMES))), rows, measures, identity)
        self.parts = self._parts(rest)
        self._lay_out()
        self.lamps = Lamps(identity.light_side, identity.light_warmth)
        self.face_area = self._face_area(rest)
        self._light_rest()
        self._backdrops: dict[tuple[int, int], np.ndarray] = {}

    # --- building -------------------------------------------------------------------------------------------------

    def _parts(self, rest: np.ndarray) -> list[Part]:
        identity, rows, m = self.identity, self.rows, self.measures
        rng = np.random.default_rng([identity.seed, 5, identity.number])
        skin = Skin(identity, rest, rows, m)
        keep = np.ones((rest.shape[0] - 1, rest.shape[1] - 1), bool)
        keep &= ~under_hair(identity, rest)
        under = (rows.height - m.chin_y - 4) / 78.0
        follows = np.broadcast_to(step(1.0, 0.0, under)[:, None], rest.shape[:2])
        texture = skin.paint()
        head = Part("head", rest, texture, follows=follows, gloss=skin.gloss() * 0.42, shininess=15.0, keep=keep)
        return [
            head,
            *make.eyes(identity, self.lids, rng),
            *make.mouth_parts(m, rest, rows, rng),
            *make.ears(identity, rest, texture),
            make.shoulders(identity, m, rng),
            *hair(identity, rest, rows, rng),
        ]

    def _lay_out(self) -> None:
        """Stack the parts: slices of vertices, the mesh, the texture and per-vertex constants."""
        width = max(part.rest.shape[1] for part in self.parts)
        self.first_row, self.slices, triangles, two_sided, see_through = {}, {}, [], [], []
        row = vertex = 0
        for part in self.parts:
            rows, columns = part.rest.shape[:2]
            self.first_row[part.name], self.slices[part.name] = row, slice(vertex, vertex + rows * columns)
            cells = grid_triangles(rows, columns, part.keep) + vertex
            triangles.append(cells)
            both = np.broadcast_to(part.two_sided, (rows - 1, columns - 1))
            two_sided.append(np.repeat(both[part.keep] if part.keep is not None else both.ravel(), 2))
            see_through.append(np.full(len(cells), part.alpha is not None))
            row, vertex = row + rows, vertex + rows * columns
        self.atlas_shape = (row, width)
        alpha = self._paint_atlas()
        self.atlas_index = (self.coordinates[:, 1] * width + self.coordinates[:, 0]).astype(np.int64)
        flags = np.concatenate(two_sided), np.concatenate(see_through)
        self.mesh = _drop_clear(Mesh(np.concatenate(triangles), self.coordinates, *flags, alpha, TEXELS))
        self.gloss, self.shininess, self.shade = (self._per_vertex(name) for name in ("gloss", "shininess", "shade"))
        self.follows, self.jaw = self._per_vertex("follows"), self._per_vertex("jaw")
        self.strands = self._per_vertex("strands") > 0
        names = ("upper teeth", "lower teeth", "tongue")
        self.inside_mouth = np.concatenate([np.arange(s.start, s.stop) for s in (self.slices[name] for name in names)])

    def _paint_atlas(self) -> np.ndarray:
        """Fill in the textures and the coordinates of the vertices; return the alpha image."""
        height, width = self.atlas_shape
        self.texture = np.zeros((height * TEXELS, width * TEXELS, 3), np.float32)
        alpha = np.ones(self.texture.shape[:2], np.float32)
        coordinates = []
        for part in self.parts:
            rows, columns = part.rest.shape[:2]
            top = self.first_row[part.name]
            block = (slice(top * TEXELS, (top + rows) * TEXELS), slice(0, columns * TEXELS))
            edge = ((0, TEXELS - 1), (0, TEXELS - 1))
            self.texture[block] = np.pad(part.texture, (*edge, (0, 0)), "edge")
            if part.alpha is not None:
                alpha[block] = np.pad(part.alpha, edge, "edge")
            i, j = np.mgrid[0:rows, 0:columns]
            coordinates.append(np.stack([j.ravel(), i.ravel() + top], 1))
        self.coordinates = np.concatenate(coordinates).astype(np.float32)
        return alpha

    def _per_vertex(self, name: str) -> np.ndarray:
        return np.concatenate(
            [
                np.broadcast_to(np.asarray(getattr(part, name), np.float64), part.rest.shape[:2]).ravel()
                for part in self.parts
            ]
        )

    def _face_area(self, rest: np.ndarray) -> np.ndarray:
        """An image like the atlas: 1 where a vertex belongs to the face (skin above the chin, eyes, mouth)."""
        area = np.zeros(self.atlas_shape, np.float32)
        m, rows = self.measures, self.rows
        inside = (rest[..., 2] > -78) & (rest[..., 1] > m.brow_y - 46)
        inside &= (np.arange(len(rest)) <= rows.chin)[:, None]
        area[: rest.shape[0], : rest.shape[1]] = inside
        for part in self.parts:
            if part.name in ("right eye", "left eye", "upper teeth", "lower teeth", "tongue"):
                top = self.first_row[part.name]
                area[top : top + part.rest.shape[0]] = 1
        return area

    def _light_rest(self) -> None:
        """Normals and shadows of the face at rest."""
        points, normals = self._unposed(self.moment())
        for part in self.parts:
            if part.name != "head":
                part.normals = normals[self.slices[part.name]]
        self.tangents = np.zeros_like(points)
        for part in self.parts:
            if part.strands:
                self.tangents[self.slices[part.name]] = _unit(np.gradient(part.rest, axis=0)).reshape(-1, 3)
        occluder, mesh = self._coarse(points)
        self.receivers = receivers(normals)
        table = transfer(points + 1.0 * normals, normals, occluder, mesh)
        for part in self.parts:
            rows, columns = part.rest.shape[:2]
            block = table[self.slices[part.name]].reshape(rows, columns, 9)
            for k in range(9):
                block[..., k] = cv2.GaussianBlur(np.ascontiguousarray(block[..., k]), (3, 3), 0.8)
            table[self.slices[part.name]] = block.reshape(-1, 9)
        self.transfer = table

    def _coarse(self, points: np.ndarray) -> tuple[np.ndarray, Mesh]:
        """Every other vertex of the parts that cast shadows."""
        vertices, triangles, count = [], [], 0
        for part in self.parts:
            if not part.casts_shadow:
                continue
            rows, columns = part.rest.shape[:2]
            grid = points[self.slices[part.name]].reshape(rows, columns, 3)
            grid = grid[np.unique(np.r_[0:rows:2, rows - 1])][:, np.unique(np.r_[0:columns:2, columns - 1])]
            cells = grid_triangles(*grid.shape[:2])
            triangles.append(cells + count)
            vertices.append(grid.reshape(-1, 3))
            count += len(vertices[-1])
        triangles = np.concatenate(triangles)
        everything = np.ones(len(triangles), bool)
        return np.concatenate(vertices), Mesh(
            triangles, np.zeros((count, 2), np.float32), everything, ~everything, None
        )

    # --- a moment -------------------------------------------------------------------------------------------------

    def face(self, state: State) -> np.ndarray:
        """The head's grid under the expression of a moment, before it turns."""
        return self.expressions.shape(state.aus, state.gaze[1])

    def _unposed(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Positions and normals of all vertices before the head turns."""
        ex, rows = self.expressions, self.rows
        gaze_yaw, gaze_pitch = state.gaze
        head = self.face(state)
        normals = grid_normals(head)
        weld_normals(normals, rows, ex.part_eye, ex.part_mouth)
        points, directions = [head.reshape(-1, 3)], [_unit(normals).reshape(-1, 3)]
        turn = ex.jaw_rotation(state.aus)
        ball = eyeball_directions()
        for part in self.parts[1:]:
            grid = part.rest
            if part.name.endswith(" eye"):
                side = np.array([-1.0 if part.name == "right eye" else 1.0, 1, 1])
                grid = pose_eyeball(ball, self.lids.centre * side, (np.radians(gaze_yaw), np.radians(gaze_pitch)))
                normal = _unit(grid - self.lids.centre * side)
            elif part.normals is None:
                normal = _unit(grid_normals(grid))
            else:
                normal = part.normals
            if np.any(part.jaw):
                grid = turn(grid, np.broadcast_to(np.asarray(part.jaw, np.float64), grid.shape[:2]))
            points.append(grid.reshape(-1, 3))
            directions.append(normal.reshape(-1, 3))
        return np.concatenate(points), np.concatenate(directions)

    def pose(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Positions and normals of all vertices in front of the camera."""
        return self.posed(*self._unposed(state), state)

    def posed(self, points: np.ndarray, normals: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Rotate positions and normals with the head."""
        matrix = rotation_matrix(*state.rotation)
        moved = (points - PIVOT) @ matrix.T + PIVOT + state.translation
        points = points + self.follows[:, None] * (moved - points)
        turned = self.follows > 0.5
        normals = np.where(turned[:, None], normals @ matrix.T, normals)
        return points, normals

    @staticmethod
    def project(points: np.ndarray, height: int, width: int) -> np.ndarray:
        """Pixels (x, y) with (0, 0) at the corner of the picture, and depth in millimetres (larger is nearer)."""
        zoom = height / VIEW * CAMERA_DISTANCE / (CAMERA_DISTANCE - points[:, 2])
        x = width / 2 + points[:, 0] * zoom
        return np.stack([x, height / 2 + (points[:, 1] - VIEW_CENTRE) * zoom, points[:, 2]], 1)

    # --- drawing --------------------------------------------------------------------------------------------------

    def _light(self, state: State, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Light on every vertex (V, 4): diffuse red, green, blue and the shine."""
        rotation, lamps = rotation_matrix(*state.rotation), self.lamps_of(state)
        still, turned = lamps.coefficients(np.eye(3)), lamps.coefficients(rotation)
        cut = self.slices["clothes"]
        left = shadow(self.transfer, self.receivers, turned)
        left[cut] = shadow(self.transfer[cut], self.receivers[cut], still)
        # At rest the mouth is shut and dark; open, it gets the light that its parts' `shade` leaves.
        left[self.inside_mouth] = 0.6
        left = left ** np.array([0.82, 1.0, 1.06])
        light = (receivers(normals) @ still).clip(0.03) * left * self.shade[:, None]
        self._shade_eyes(state, points, light)
        half = _unit(lamps.key + np.array([0.0, 0, 1]))
        # The cornea bulges from the ball, which draws the lamp's reflection towards the pupil.
        bulge = np.where((self.shininess == EYE_SHININESS)[:, None], normals * np.array([1.6, 1.6, 1.0]), normals)
        facing = np.clip(_unit(bulge) @ half, 0, 1)
        along = (self.tangents @ rotation.T) @ half
        facing = np.where(self.strands, np.sqrt(np.clip(1 - along * along, 0, 1)) * (facing > 0), facing)
        rim = (1 - np.clip(normals[:, 2], 0, 1)) ** 3
        open_air = np.where(self.shininess == EYE_SHININESS, 1.0, left[:, 1])
        shine = self.gloss * (0.13 * facing**self.shininess + 0.03 * rim) * open_air
        return np.concatenate([light, shine[:, None]], 1).astype(np.float32)

    def _shade_eyes(self, state: State, points: np.ndarray, light: np.ndarray) -> None:
        """The upper lid's shadow on the ball (in place)."""
        closure = self.expressions.lid_state(state.aus, state.gaze[1])
        gaze, still = tuple(np.radians(state.gaze)), self.lamps_of(state).coefficients(np.eye(3))
        for name, side in (("right eye", -1.0), ("left eye", 1.0)):
            ball = pose_eyeball(eyeball_directions(), self.lids.centre * np.array([side, 1, 1]), gaze).reshape(-1, 3)
            upper, _ = self.lids.edges(np.abs(ball[:, 0]), *closure)
            light[self.slices[name]] = (receivers(_unit(ball - ball.mean(0))) @ still).clip(0.25)
            light[self.slices[name]] *= (0.30 + 0.62 * step(-0.5, 4.2, ball[:, 1] - upper))[:, None]

    def _sample(self, image: np.ndarray, samples: Samples, scale: float) -> np.ndarray:
        """Values of an atlas image at samples, bilinear: (N, channels)."""
        return lookup(image, samples.column * np.float32(scale), samples.row * np.float32(scale))

    def _atlas_image(self, values: np.ndarray) -> np.ndarray:
        image = np.zeros((self.atlas_shape[0] * self.atlas_shape[1], values.shape[1]), np.float32)
        image[self.atlas_index] = values
        return image.reshape(*self.atlas_shape, -1)

    def backdrop(self, height: int, width: int) -> np.ndarray:
        """The background in linear light at the resolution of the samples."""
        if (height, width) not in self._backdrops:
            self._backdrops[height, width] = _backdrop(self.identity, height, width)
        return self._backdrops[height, width]

    def screen(self, points: np.ndarray, state: State, size: int) -> np.ndarray:
        """Project points with the camera of this moment into a square picture, as `project` does."""
        return self.project(points, size, size)

    def surroundings(self, state: State, fine: int) -> np.ndarray:
        """A new canvas of fine x fine samples with the background, in linear light."""
        return self.backdrop(fine, fine).copy()

    def expose(self, canvas: np.ndarray, state: State) -> np.ndarray:
        """Linear light to the picture of 8 bits that a camera gives."""
        return develop(canvas)

    def lamps_of(self, state: State) -> Lamps:
        """The lamps of this moment."""
        return self.lamps

    def motion_behind(self, first: State, second: State, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The background's part of `motion`: it does not move, and all of it is visible."""
        return np.zeros((size, size, 2), np.float32), np.ones((size, size), bool)

    def draw(self, state: State, size: int) -> Picture:
        """Draw a square picture with its ground truth."""
        points, normals = self.pose(state)
        screen = self.screen(points, state, size)
        fine = size * SUPERSAMPLING
        samples = rasterise(screen * np.array([SUPERSAMPLING, SUPERSAMPLING, 1.0]), self.mesh, fine, fine)
        light = self._sample(self._atlas_image(self._light(state, points, normals)), samples, 1.0)
        colour = self._sample(self.texture, samples, TEXELS)
        colour = colour * light[:, :3] + light[:, 3:]
        canvas = self.surroundings(state, fine)
        canvas.reshape(-1, 3)[samples.index] = colour
        image = self.expose(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), state)
        face = np.zeros(fine * fine, np.float32)
        face[samples.index] = self._sample(self.face_area, samples, 1.0)[:, 0]
        mask = cv2.resize(face.reshape(fine, fine), (size, size), interpolation=cv2.INTER_AREA) > 0.5
        return self._truth(image, mask, screen, normals, samples, size)

    def _truth(self, image, mask, screen, normals, samples: Samples, size: int) -> Picture:
        rows, columns = self.parts[0].rest.shape[:2]
        cut = self.slices["head"]
        grid, normal = screen[cut].reshape(rows, columns, 3), normals[cut].reshape(rows, columns, 3)
        points = self.landmarks.fixed(grid)
        drawn = self.landmarks.annotated(grid, normal)
        fine = size * SUPERSAMPLING
        depth = np.full(fine * fine, -1e4, np.float32)
        depth[samples.index] = samples.depth
        visible = self.landmarks.visible(points, depth.reshape(fine, fine), SUPERSAMPLING)
        pixel = np.array([0.5, 0.5])
        box = np.concatenate([drawn.min(0), drawn.max(0)]) - 0.5
        points = np.concatenate([points[:, :2] - pixel, points[:, 2:]], 1)
        return Picture(
            image, mask, (drawn - pixel).astype(np.float32), visible, points.astype(np.float32), box.astype(np.float32)
        )

    def motion(self, first: State, second: State, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel of the first moment goes: flow (H, W, 2) in pixels, and whether it is visible in the second.

        A pixel's position plus its flow is its position in the second picture. The background does
        not move; it is seen where nothing covers it.
        """
        return self.motion_between(self.view(first, size), self.view(second, size))

    def view(self, state: State, size: int) -> "View":
        """The inputs of `motion_between` for one moment."""
        points, normals = self.pose(state)
        screen = self.screen(points, state, size)
        return View(state, size, screen, normals[:, 2], rasterise(screen, self.mesh, size, size))

    def motion_between(self, first: "View", second: "View") -> tuple[np.ndarray, np.ndarray]:
        """`motion` of two views of one size; a view may serve many pairs."""
        size, samples = first.size, first.samples
        # Both positions are read the same way, so that the curvature inside a cell cancels.
        after = np.concatenate([second.screen, second.facing[:, None]], 1)
        target = self._sample(self._atlas_image(after), samples, 1.0)
        origin = self._sample(self._atlas_image(first.screen), samples, 1.0)
        flow, there = self.motion_behind(first.state, second.state, size)
        flow.reshape(-1, 2)[samples.index] = target[:, :2] - origin[:, :2]
        depth = second.depth()
        seen = there & _uncovered(flow, depth)
        near = cv2.erode(depth, np.ones((3, 3)))
        x, y = np.floor(target[:, 0]).astype(int), np.floor(target[:, 1]).astype(int)
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        in_front = near[y.clip(0, size - 1), x.clip(0, size - 1)] < target[:, 2] + 3.0
        # The head has one side; what it turns away is hidden though nothing lies before it.
        away = (target[:, 3] < 0.05) & (samples.row < self.parts[0].rest.shape[0])
        seen.ravel()[samples.index] = inside & in_front & ~away
        return flow, seen


@dataclass
class View:
    """The surfaces visible in one picture."""

    state: State
    size: int
    screen: np.ndarray  # (V, 3)
    facing: np.ndarray  # (V,) 1 towards the camera, -1 away
    samples: Samples

    def depth(self) -> np.ndarray:
        """The z-buffer (size, size), far behind where only background is."""
        depth = np.full(self.size * self.size, -1e4, np.float32)
        depth[self.samples.index] = self.samples.depth
        return depth.reshape(self.size, self.size)


def _uncovered(flow: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Whether pixels that move by `flow` (H, W, 2) meet only background in a z-buffer (H, W)."""
    height, width = depth.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    x, y = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside & (depth[y.clip(0, height - 1), x.clip(0, width - 1)] < -9e3)


def _drop_clear(mesh: Mesh) -> Mesh:
    """Drop fully transparent triangles, and mark fully opaque ones."""
    smooth = cv2.blur((mesh.alpha > 0).astype(np.float32), (2 * TEXELS + 1, 2 * TEXELS + 1))
    texel = np.rint(mesh.coordinates[mesh.triangles].mean(1) * TEXELS).astype(int)
    share = smooth[texel[:, 1].clip(0, smooth.shape[0] - 1), texel[:, 0].clip(0, smooth.shape[1] - 1)]
    keep = ~mesh.see_through | (share > 1e-3)
    see_through = mesh.see_through & (share < 1 - 1e-3)
    return Mesh(
        mesh.triangles[keep], mesh.coordinates, mesh.two_sided[keep], see_through[keep], mesh.alpha, mesh.alpha_scale
    )


def _backdrop(identity: Identity, height: int, width: int) -> np.ndarray:
    """A wall out of focus, lighter on the side of the lamp."""
    rng = np.random.default_rng([identity.seed, 3, identity.number])
    light, dark = (np.asarray(tone, np.float32) for tone in identity.backdrop)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(max(height, width))
    share = 0.55 - 0.55 * identity.light_side * (x - 0.5) - 0.5 * (y - 0.4)
    for _ in range(5):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, 0.8), rng.uniform(0.15, 0.35)
        share = share + rng.uniform(-0.22, 0.22) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / r**2)
    edge = rng.uniform(0.1, 0.9)
    share = share - 0.18 * (1 / (1 + np.exp(-(x - edge) * 34)))
    return (dark + (light - dark) * np.clip(share, 0, 1)[..., None]).astype(np.float32)


def develop(canvas: np.ndarray) -> np.ndarray:
    """Linear light to an 8-bit picture, with a soft shoulder for the brightest parts."""
    bright = canvas * 1.22
    bright = np.where(bright > 0.72, 0.72 + 0.28 * np.tanh((bright - 0.72) / 0.40), bright)
    return np.rint(np.sqrt(np.clip(bright, 0, 1)) * 255).astype(np.uint8)
