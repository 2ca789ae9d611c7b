"""Supervised losses on a motion family's predictions, for training data with ground truth.

Drawn people (--dataset_mode drawn) have the motion between two frames, its visibility, landmarks and the face's mask.
All options are off by default: real clips have no ground truth.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.losses import NoTerms, Terms, at_least_single
from models.parts.warps import coordinate_grid, resize
from util.errors import UserError

GUIDES = (
    (30,), (8,), (36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (48,), (54,), (51, 62), (57, 66), (17, 18, 19),
    (24, 25, 26), (2, 3, 4), (12, 13, 14), (20, 21), (22, 23), (37, 38), (43, 44),
)  # fmt: skip
"""The landmarks (iBUG order) that the first key points become, most useful first: nose, chin, eyes, mouth, brows, jaw,
lids. Further key points are free."""


def build_truth(**weights: float) -> "TruthLosses | NoTruth":
    """The losses of `models.parts.options.add_truth_options`."""
    return TruthLosses(**weights) if any(weights.values()) else NoTruth()


class NoTruth(NoTerms):
    """Training without ground truth."""

    def check(self, batch: dict[str, Tensor]) -> None:
        """Nothing is needed."""


class TruthLosses(nn.Module):
    """The losses of one batch; a weight of 0 leaves one out."""

    def __init__(self, motion: float = 0.0, occlusion: float = 0.0, points: float = 0.0, face: float = 0.0):
        super().__init__()
        self.motion, self.occlusion, self.points, self.face = motion, occlusion, points, face

    def forward(
        self,
        batch: dict[str, Tensor],
        prediction: Tensor,
        deformation: Tensor,
        occlusion_maps: Sequence[Tensor],
        points: tuple[Tensor, Tensor] = (),
    ) -> Terms:
        """`deformation` (B, h, w, 2): sampling positions in the source; `points` (B, K, 2) of source and driving
        frame."""
        self.check(batch)
        terms = {}
        if self.motion:
            terms["truth_motion"] = self.motion * motion_error(deformation, batch["motion"], batch["seen"])
        if self.occlusion and occlusion_maps:
            errors = [visibility_error(map, batch["seen"]) for map in occlusion_maps]
            terms["truth_occlusion"] = self.occlusion * sum(errors) / len(errors)
        if self.points:
            pairs = zip(points, (batch["source_points"], batch["driving_points"]), strict=True)
            terms["truth_points"] = self.points * sum(guide_error(*pair) for pair in pairs) / 2
        if self.face:
            terms["truth_face"] = self.face * self._on_face(prediction, batch)
        return terms

    def check(self, batch: dict[str, Tensor]) -> None:
        """Refuse batches without ground truth; a family that needs it later only asks in its first step."""
        if "motion" not in batch:
            raise UserError(
                "--weight_truth_*: these losses need the ground truth of drawn people, which the dataset lacks; train "
                "with --dataset_mode drawn (live_portrait: drawn_portraits), or set the weights to 0"
            )

    @staticmethod
    def _on_face(prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        mask = resize_area(batch["mask"], tuple(prediction.shape[-2:]))
        return masked_difference(prediction, batch["driving"], mask)


def motion_error(deformation: Tensor, motion: Tensor, seen: Tensor) -> Tensor:
    """Mean distance to the true motion (B, 2, h, w), in units of [-1, 1], over the visible pixels (B, 1, h, w)."""
    size = tuple(deformation.shape[1:3])
    moved = at_least_single(deformation) - coordinate_grid(*size, like=at_least_single(deformation))
    # Partly visible pixels use the mean motion of their visible part.
    share = resize_area(seen, size)
    true = resize_area(motion * seen, size) / share.clamp(min=1e-3)
    return masked_difference(moved.movedim(3, 1), true, (share > 0.5).float())


def visibility_error(occlusion_map: Tensor, seen: Tensor) -> Tensor:
    """Cross entropy between an occlusion map (B, 1, h, w), 1 for usable source pixels, and the true visibility."""
    share = resize_area(seen, tuple(occlusion_map.shape[-2:]))
    return F.binary_cross_entropy(at_least_single(occlusion_map).clamp(1e-4, 1 - 1e-4), share)


def guide_error(points: Tensor, landmarks: Tensor) -> Tensor:
    """Mean distance of the first points (B, K, 2) to their landmarks (B, 68, 3), weighted by the third column."""
    guides = GUIDES[: points.shape[1]]
    chosen = [landmarks[:, list(guide)].mean(1) for guide in guides]
    target = torch.stack(chosen, dim=1)
    # Landmarks outside the picture are ignored.
    inside = (target[..., :2].abs() < 1).all(-1)
    weight = target[..., 2] * inside
    distance = (at_least_single(points[:, : len(guides)]) - target[..., :2]).abs().mean(-1)
    return (distance * weight).sum() / weight.sum().clamp(min=1e-3)


def masked_difference(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of maps (B, C, h, w) where the mask (B, 1, h, w) is 1."""
    difference = (at_least_single(a) - at_least_single(b)).abs().mean(1, keepdim=True)
    return (difference * mask).sum() / mask.sum().clamp(min=1.0)


def resize_area(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps, by area averaging when they shrink."""
    if maps.shape[-1] > size[-1]:
        return F.interpolate(maps, size=size, mode="area")
    return resize(maps, size)
