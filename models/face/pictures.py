"""The pictures of a training step of edge-guided face animation: one sample's frames, a row each."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.face.flow_colours import flow_colours
from models.face.networks import Guides


class Shown(NamedTuple):
    """One sample of a chunk of T frames."""

    reference: Tensor
    reference_structure: Tensor
    real: Tensor
    structures: Tensor
    generated: Tensor
    guides: dict[int, Guides]
    """For each layer the flows and masks of all frames (T, ..., h, w)."""


def training_pictures(shown: Shown) -> dict[str, Tensor]:
    """The columns of the grid: inputs, result, and the flows and masks of each layer; a row per frame."""
    frames = len(shown.real)
    columns = {
        "P_reference": to_unit(shown.reference).expand(frames, -1, -1, -1),
        "BP_reference": edges(shown.reference_structure).expand(frames, -1, -1, -1),
        "P_frame": to_unit(shown.real),
        "BP_frame": edges(shown.structures),
        "img_gen": to_unit(shown.generated),
    }
    for layer, guides in shown.guides.items():
        for letter, flow in (("p", guides.flow_previous), ("r", guides.flow_reference)):
            columns[f"flow_{letter}{layer}"] = coloured(flow)
        for letter, mask in (("p", guides.mask_previous), ("r", guides.mask_reference)):
            # The original displays the mask as if its range were [-1, 1].
            columns[f"mask_{letter}{layer}"] = to_unit(mask)
    return columns


def to_unit(pictures: Tensor) -> Tensor:
    """Convert pictures from [-1, 1] to [0, 1]."""
    return (pictures.float() + 1) / 2


def edges(structures: Tensor) -> Tensor:
    """The edges of structure maps (T, C, H, W), white on black."""
    return structures[:, :1].float().clamp(0, 1)


def coloured(flows: Tensor) -> Tensor:
    """Flows (T, 2, h, w) as pictures."""
    pictures = [flow_colours(flow) for flow in flows.float().cpu().numpy()]
    return torch.from_numpy(np.stack(pictures).astype(np.float32)).movedim(-1, 1)
