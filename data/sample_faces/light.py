"""Light: soft lamps as spherical harmonics, with precomputed self-shadows of the head."""

import numpy as np

from data.sample_faces.raster import Mesh, rasterise

DIRECTIONS = 56
_COSINE = np.repeat([np.pi, 2 * np.pi / 3, np.pi / 4], [1, 3, 5])


def harmonics(d: np.ndarray) -> np.ndarray:
    """The first nine real spherical harmonics of directions (..., 3)."""
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    return np.stack(
        [
            0.282095 + 0 * x, 0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        -1,
    )  # fmt: skip


def _unit(v) -> np.ndarray:
    v = np.asarray(v, np.float64)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


class Lamps:
    """A key light to one side, a fill, a light from behind and an ambient glow."""

    def __init__(self, side: float, warmth: float):
        warm = np.array([1 + 0.10 * warmth, 1.0, 1 - 0.13 * warmth])
        cool = np.array([1 - 0.07 * warmth, 1.0, 1 + 0.09 * warmth])
        self.directions = _unit(
            [[0.85 * side, -0.62, 0.80], [-0.8 * side, -0.15, 0.75], [-0.9 * side, -0.5, -0.6], [0, 1, 0.4]]
        )
        self.colours = np.stack([1.75 * warm, 0.42 * cool, 0.55 * cool, 0.16 * warm])
        self.ambient = 0.17 * (warm + cool) / 2
        self.key = self.directions[0]

    def coefficients(self, rotation: np.ndarray) -> np.ndarray:
        """(9, 3) of the light as it arrives in a frame whose axes are the columns of `rotation`."""
        out = harmonics(self.directions @ rotation).T @ self.colours
        out[0] += self.ambient * np.sqrt(4 * np.pi) / 2
        return out.astype(np.float32)


def receivers(normals: np.ndarray) -> np.ndarray:
    """Transfer (N, 9) of unshadowed surfaces, to multiply with the light's coefficients."""
    return (harmonics(normals) * (_COSINE / np.pi)).astype(np.float32)


def _sphere(count: int) -> np.ndarray:
    """Directions spread evenly over the sphere."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    return np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], -1)


def transfer(
    vertices: np.ndarray, normals: np.ndarray, occluder: np.ndarray, mesh: Mesh, size: int = 144
) -> np.ndarray:
    """Radiance transfer to each vertex past the occluder, as spherical harmonics: (V, 9)."""
    out = np.zeros((len(vertices), 9))
    for direction in _sphere(DIRECTIONS):
        cosine = normals @ direction
        lit = np.flatnonzero(cosine > 0)
        helper = _unit(np.cross(direction, [0.31, 0.95, 0.1]))
        axes = np.stack([helper, np.cross(direction, helper), direction])
        flat = occluder @ axes.T
        low, high = flat.min(0), flat.max(0)
        scale = (size - 1) / (high[:2] - low[:2]).max()
        flat[:, :2] = (flat[:, :2] - low[:2]) * scale + 0.5
        found = rasterise(flat, mesh, size, size)
        depth = np.full(size * size, -1e9, np.float32)
        depth[found.index] = found.depth
        seen = vertices[lit] @ axes.T
        pixel = np.clip(((seen[:, :2] - low[:2]) * scale + 0.5).astype(np.int64), 0, size - 1)
        behind = depth[pixel[:, 1] * size + pixel[:, 0]] - seen[:, 2]
        visible = np.clip(1 - (behind - 3.0) / 3.5, 0, 1)
        out[lit] += (visible * cosine[lit])[:, None] * harmonics(direction)
    return (out * (4 / DIRECTIONS)).astype(np.float32)


def shadow(table: np.ndarray, free: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Share of the light that the shadows leave: (V, 3), from `transfer` and `receivers`."""
    open_air = (free @ coefficients).clip(0.02)
    return np.clip((table @ coefficients + 0.02) / (open_air + 0.02), 0.03, 1.0)
