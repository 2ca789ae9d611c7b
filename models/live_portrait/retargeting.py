"""Adjustments of driven key points: stitching, eyes, lips."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.live_portrait.options import DRIVING
from util.errors import UserError

OPEN_LIPS = 0.03
"""Openness from which lips are closed before an animation, with --normalize_lip."""
CLOSED_EYES, USUAL_EYES = 0.18, 0.39
"""In a source video, if the eyes of the first frame are less open than the first value, the second one is used."""


class Openness(NamedTuple):
    """The openness of eyes (N, 2: left and right in the picture) and lips (N, 1)."""

    eyes: Tensor
    lips: Tensor

    @staticmethod
    def of(numbers: Tensor) -> "Openness":
        """From an array (N, 3): left eye, right eye, lips."""
        return Openness(numbers[:, :2], numbers[:, 2:])


@dataclass(frozen=True)
class Adjustments:
    """The requested adjustments. `eyes` and `lips`: "driving", an openness, or None to keep them."""

    stitching: bool = True
    multiplier: float = 1.0
    eyes: str | float | None = None
    lips: str | float | None = None
    normalize_lip: bool = False
    normalize_eyes: bool = False
    """In a source video: keep the eyes as open as in its first frame."""
    relative: bool = True
    as_original: frozenset[str] = field(default_factory=frozenset)
    eye_points: tuple[int, ...] = ()

    @property
    def retargets(self) -> bool:
        """Whether eyes or lips get a target openness."""
        return self.eyes is not None or self.lips is not None

    @property
    def needs_source(self) -> bool:
        """Whether the source's openness is needed."""
        return self.retargets or self.normalize_eyes or (self.normalize_lip and self.relative)

    @property
    def needs_driving(self) -> bool:
        """Whether the driving frames' openness is needed."""
        return DRIVING in (self.eyes, self.lips)


class Adjuster:
    """Applies the adjustments with the MLPs."""

    def __init__(self, adjustments: Adjustments, stitching: nn.Module, eye: nn.Module, lip: nn.Module):
        self.adjustments, self.stitching, self.eye, self.lip = adjustments, stitching, eye, lip

    def __call__(
        self, kp_source: Tensor, kp: Tensor, source: Openness | None, driving: Openness | None, usual: Tensor | None
    ) -> Tensor:
        """Driven points (N, K, 3) of a source; `usual`: the eye openness of a source video, (1, 1)."""
        adjustments = self.adjustments
        if adjustments.retargets:
            # The original drops all other motion here, with relative motion.
            kept = kp_source if adjustments.relative and "retargeting" in adjustments.as_original else kp
            kp = kept + self.retargeting(kp_source, source, driving)
        if adjustments.stitching:
            kp = self.stitching(kp_source, kp)
        if not adjustments.retargets or "normalize_lip" not in adjustments.as_original:
            kp = kp + self.normalising_offsets(kp_source, source, usual)
        return kp_source + (kp - kp_source) * adjustments.multiplier

    def retargeting(self, kp_source: Tensor, source: Openness | None, driving: Openness | None) -> Tensor | float:
        """The offsets that open eyes and lips as requested."""
        total: Tensor | float = 0.0
        if self.adjustments.eyes is not None:
            total = total + self._eyes(kp_source, source, driving)
        if self.adjustments.lips is not None:
            total = total + self.lip_offsets(
                kp_source, source, _aim(self.adjustments.lips, driving and driving.lips, source.lips)
            )
        return total

    def _eyes(self, kp_source: Tensor, source: Openness, driving: Openness | None) -> Tensor:
        aim = _aim(self.adjustments.eyes, driving and driving.eyes, source.eyes)
        left, right = (self.eye_offsets(kp_source, source, one) for one in aim.split(1, dim=1))
        if "left_eye" in self.adjustments.as_original:
            return left
        return torch.where(self._left_mask(kp_source), left, right)

    def _left_mask(self, kp_source: Tensor) -> Tensor:
        """Mask (N, K, 1) of the left eye's offsets: points left of the centre of the eyes.

        The network opens both eyes by the same degree; two calls allow a wink.
        """
        x = kp_source[..., :1]
        return x < x[:, list(self.adjustments.eye_points)].mean(1, keepdim=True)

    def eye_offsets(self, kp_source: Tensor, source: Openness, aim: Tensor) -> Tensor:
        """The offsets that open both eyes to `aim` (N, 1)."""
        return self.eye(kp_source, torch.cat([source.eyes, aim], dim=1))

    def lip_offsets(self, kp_source: Tensor, source: Openness, aim: Tensor) -> Tensor:
        """The offsets that open the lips to `aim` (N, 1)."""
        return self.lip(kp_source, torch.cat([source.lips, aim], dim=1))

    def normalising_offsets(self, kp_source: Tensor, source: Openness | None, usual: Tensor | None) -> Tensor | float:
        """The offsets that close the source's open lips, and keep a source video's eyes steady."""
        adjustments, total = self.adjustments, 0.0
        if adjustments.normalize_lip and adjustments.relative and adjustments.lips is None:
            closed = self.lip_offsets(kp_source, source, torch.zeros_like(source.lips))
            total = total + closed * (source.lips >= OPEN_LIPS)[..., None]
        if adjustments.normalize_eyes and usual is not None and adjustments.eyes is None:
            total = total + self.eye_offsets(kp_source, source, usual.expand(len(kp_source), 1))
        return total


def usual_openness(first: Openness) -> Tensor:
    """The eye openness (1, 1) of a source video, from its first frame."""
    mean = first.eyes[:1].mean(1, keepdim=True)
    return torch.where(mean < CLOSED_EYES, torch.full_like(mean, USUAL_EYES), mean)


def _aim(adjustments: str | float, driving: Tensor | None, like: Tensor) -> Tensor:
    """The target openness in the shape of the source's."""
    return driving if adjustments == DRIVING else torch.full_like(like, float(adjustments))


def require_openness(adjustments: Adjustments, source: Openness | None, driving: Openness | None) -> None:
    """Raise an error if a required openness is unknown."""
    if adjustments.needs_source and source is None:
        raise UserError(
            "--eye_retargeting, --lip_retargeting and --normalize_lip need landmarks of the source, which this "
            "dataset mode lacks: use --dataset_mode portraits"
        )
    if adjustments.needs_driving and driving is None:
        raise UserError(
            "--eye_retargeting driving, --lip_retargeting driving: the openness of eyes and lips in the driving "
            "frames is unknown (old motion templates lack it); set a number, e.g. --eye_retargeting 0.3"
        )
