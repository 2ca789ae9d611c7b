"""Coordinates, warps and the transforms between them.

Points and grids are (x, y), x to the right, y down; -1 and 1 are the centres of the first and last pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.parts.inference import finished_on_cpu

WIDE = 32
"""Channels from which on inference on the CPU samples maps as tables of rows."""
DETERMINANT_FLOOR = 1e-4
"""Determinant below which a matrix near the identity is treated as singular."""


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """The position (x, y) of every pixel: (h, w, 2), with the type and device of `like`."""
    x = torch.arange(width, dtype=like.dtype, device=like.device) * (2 / (width - 1)) - 1
    y = torch.arange(height, dtype=like.dtype, device=like.device) * (2 / (height - 1)) - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def warp(image: Tensor, grid: Tensor, align_corners: bool = True, padding: str = "zeros") -> Tensor:
    """Sample `image` (B, C, H, W) bilinearly at `grid` (N, h, w, 2); one picture may be paired with all N grids.

    `align_corners`: the sampling convention of the weights' training; true fits `coordinate_grid`.
    """
    # In half precision a coordinate would be off by an eighth of a pixel: sampling keeps the grid's precision.
    source = image.to(grid.dtype)
    last = image.is_contiguous(memory_format=torch.channels_last)
    if last and padding == "zeros" and image.shape[1] >= WIDE and finished_on_cpu(image):
        return _gathered(source, grid, align_corners).to(image.dtype)
    source = source.expand(len(grid), -1, -1, -1)
    sampled = F.grid_sample(source, grid, mode="bilinear", padding_mode=padding, align_corners=align_corners)
    # On the CPU sampling returns contiguous maps, which every following convolution would have to reorder.
    return sampled.to(image.dtype).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _gathered(image: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """Bilinear samples of channels-last pictures: a weighted sum of the four pixels around each position, as table
    rows.

    For wide maps this is several times as fast as the library's sampling, which processes them channel by channel.
    """
    height, width = image.shape[-2:]
    size = grid.new_tensor([width, height])
    position = (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2
    first = position.floor()
    x, y = first.long()[..., None].unbind(-2)
    right, down = (position - first)[..., None].unbind(-2)
    x, y = torch.cat([x, x + 1, x, x + 1], dim=-1), torch.cat([y, y, y + 1, y + 1], dim=-1)
    weight = torch.cat([1 - right, right], dim=-1)
    weight = torch.cat([weight * (1 - down), weight * down], dim=-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    row = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    if len(image) > 1:
        row = row + torch.arange(len(image))[:, None, None, None] * (height * width)
    table = image.permute(0, 2, 3, 1).flatten(0, 2)
    sums = F.embedding_bag(row.flatten(0, 2), table, per_sample_weights=(weight * inside).flatten(0, 2), mode="sum")
    return sums.view(*grid.shape[:3], -1).permute(0, 3, 1, 2)


def warp_each(image: Tensor, grids: Tensor, align_corners: bool = True) -> Tensor:
    """Sample one picture (B, C, H, W) at K grids each (B, K, h, w, 2) without copying it: (B, K, C, h, w)."""
    count, height = grids.shape[1:3]
    stacked = warp(image, grids.flatten(1, 2), align_corners)
    return stacked.unflatten(2, (count, height)).transpose(1, 2)


def resize(maps: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Resize maps (B, C, h, w) bilinearly; unchanged if the size matches.

    `align_corners`: keep the centres of the corner pixels in place, not the corners of the map.
    """
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def resize_grid(grid: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """A grid (B, h, w, 2) at another size."""
    return resize(grid.movedim(3, 1), size, align_corners).movedim(1, 3)


def inverse_2x2(matrix: Tensor, floor: float = DETERMINANT_FLOOR) -> Tensor:
    """The inverse of matrices (..., 2, 2) in closed form, with the magnitude of the determinant clamped to `floor`.

    Without it one nearly singular jacobian sends the whole neighbourhood of its point out of the picture.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    determinant = a * d - b * c
    nearest = torch.where(determinant < 0, -floor, floor)
    determinant = torch.where(determinant.abs() < floor, nearest, determinant)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    return adjugate / determinant[..., None, None]


def product_2x2(left: Tensor, right: Tensor) -> Tensor:
    """The product of matrices (..., n, 2) and (..., 2, m), exact where autocast or TF32 would round `@`."""
    return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)


def affine_grids(linear: Tensor, offset: Tensor, size: tuple[int, int]) -> Tensor:
    """linear z + offset at every pixel z: matrices (..., 2, 2) and vectors (..., 2) to grids (..., h, w, 2)."""
    grid = coordinate_grid(*size, like=offset)
    # A term for the column plus a term for the row: one addition per element, and no product for TF32 to round.
    columns = linear[..., None, :, 0] * grid[0, :, :1]
    rows = linear[..., None, :, 1] * grid[:, 0, 1:] + offset[..., None, :]
    return rows[..., :, None, :] + columns[..., None, :, :]


class PlaneTransform:
    """Random affine and thin-plate transforms of the plane, one per sample, with their derivative.

    As the equivariance loss of the first order motion model draws them (section 3.3):
    T(p) = A p + t + (1, 1) sum_m a_m r_m^2 log(r_m + 1e-6), where r_m is the city-block distance to control point m.
    """

    def __init__(self, theta: Tensor, control_params: Tensor | None = None):
        """`theta` (B, 2, 3) is [A | t]; `control_params` (B, 1, n * n) are the a_m of an n by n grid of points."""
        self.linear, self.offset = theta[..., :2], theta[..., 2]
        self.control_params = control_params

    @classmethod
    def draw(cls, like: Tensor, sigma_affine: float, sigma_tps: float | None, points_tps: int | None):
        """Draw near the identity with normal noise of the given deviations, for each sample of the batch `like`."""
        noise = torch.randn(len(like), 2, 3, device=like.device)
        theta = sigma_affine * noise + torch.eye(2, 3, device=like.device)
        if not sigma_tps or not points_tps:
            return cls(theta)
        return cls(theta, sigma_tps * torch.randn(len(like), 1, points_tps**2, device=like.device))

    def _to_control_points(self, points: Tensor) -> Tensor:
        """The vectors (B, P, M, 2) from all control points to all points."""
        side = round(self.control_params.shape[-1] ** 0.5)
        return points[..., :, None, :] - coordinate_grid(side, side, like=points).flatten(0, 1)

    def points(self, points: Tensor) -> Tensor:
        """T at points (B, P, 2)."""
        moved = product_2x2(points, self.linear.mT) + self.offset[:, None]
        if self.control_params is None:
            return moved
        radial = self._radial(self._to_control_points(points))
        return moved + (self.control_params * radial).sum(-1, keepdim=True)

    def jacobian(self, points: Tensor) -> Tensor:
        """dT/dp (B, P, 2, 2), a row per output coordinate; differentiable in the points itself."""
        linear = self.linear[:, None].expand(-1, points.shape[1], -1, -1)
        if self.control_params is None:
            return linear
        slopes = self._radial_gradient(self._to_control_points(points))
        gradient = (self.control_params[..., None] * slopes).sum(-2)
        return linear + gradient[..., None, :]

    def _radial(self, vectors: Tensor) -> Tensor:
        """The radial function of each control point at the end of the vector (..., 2) from it, for a parameter of 1."""
        distance = vectors.abs().sum(-1)
        return distance**2 * torch.log(distance + 1e-6)

    def _radial_gradient(self, vectors: Tensor) -> Tensor:
        """The gradient (..., 2) of `_radial`."""
        distance = vectors.abs().sum(-1, keepdim=True)
        return (2 * distance * torch.log(distance + 1e-6) + distance**2 / (distance + 1e-6)) * vectors.sign()

    def frame(self, frame: Tensor, align_corners: bool = True) -> Tensor:
        """The picture (B, C, H, W) sampled at T(z), continued by reflection outside."""
        size = frame.shape[-2:]
        grid = coordinate_grid(*size, like=self.offset).flatten(0, 1).expand(len(frame), -1, -1)
        return warp(frame, self.points(grid).unflatten(1, size), align_corners, padding="reflection")


def background_grids(matrix: Tensor | None, count: int, size: tuple[int, int], like: Tensor) -> Tensor:
    """Sampling grids of the background, from matrices (B, 3, 3) on (x, y, 1): grids (`count`, h, w, 2).

    The identity without matrices. A third component near 0 is clamped, with its sign.
    """
    grid = coordinate_grid(*size, like=like)
    if matrix is None:
        return grid.expand(count, -1, -1, -1)
    moved = affine_grids(matrix[..., :2], matrix[..., 2], size)
    depth = moved[..., 2:]
    nearest = torch.where(depth < 0, -1e-4, 1e-4)
    return moved[..., :2] / torch.where(depth.abs() < 1e-4, nearest, depth)
