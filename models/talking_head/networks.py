"""The networks of talking heads: embedder, generator, discriminator.

Sections are those of Zakharov et al., Few-Shot Adversarial Learning of Realistic Neural Talking Head Models, ICCV 2019
(arXiv 1905.08233).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.talking_head.blocks import Down, Residual
from models.talking_head.layers import Flow, build_layers, check_layers
from util.errors import UserError
from util.layer_language import Body

POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda maps: maps.amax((2, 3)),
    "sum": lambda maps: maps.sum((2, 3)),
}
"""The layers of `options.POOLINGS`."""


def pair(picture: Tensor, landmarks: Tensor) -> Tensor:
    """The input of embedder and discriminator: picture and landmarks, concatenated along the channels."""
    return torch.cat([picture, landmarks], dim=1)


class Embedder(nn.Module):
    """E (section 3.1): a non-negative embedding e (n, dim) of the person, independent of the pose."""

    def __init__(self, entries: Body, dim: int, size: int, pooling: str = "max"):
        super().__init__()
        check_layers(entries, ("D", "B", "I", "A"), "embedder")
        self.layers, flow = build_layers(entries, Flow(6, size), network="embedder")
        _check_dim(flow, dim, "embedder")
        self.pool = POOL[pooling]

    def forward(self, pairs: Tensor) -> Tensor:
        x = pairs
        for layer in self.layers:
            x = layer(x)
        return F.relu(self.pool(x))


class Generator(nn.Module):
    """G (section 3.1): a picture from landmarks and a style, the (sigma, mu) of all AdaIN channels: (n or 1, J, 2).

    A `personal` generator holds the style of one person as a parameter instead of the projection from embeddings.
    """

    def __init__(
        self,
        entries: Body,
        dim: int,
        size: int,
        *,
        upsample: str = "bilinear",
        personal: bool = False,
        channels: int = 3,
    ):
        super().__init__()
        self.layers, flow = build_layers(entries, Flow(3, size), network="generator", upsample=upsample)
        if flow != Flow(channels, size):
            raise UserError(
                f"--generator_layers: the last layer gives {flow.channels} channels of {flow.size} x {flow.size}; "
                f"a picture needs {channels} of {size} x {size}"
            )
        self.style_channels = [n for layer in self.layers for n in getattr(layer, "style_channels", ())]
        if not self.style_channels:
            raise UserError(
                "--generator_layers: add a layer BA or U; without it the person has no influence on the picture"
            )
        count = sum(self.style_channels)
        if personal:
            self.adain = nn.Parameter(torch.zeros(1, count, 2))
        else:
            self.P = nn.Linear(dim, 2 * count, bias=False)
            nn.init.normal_(self.P.weight, std=0.02)

    def style(self, embedding: Tensor) -> Tensor:
        """The style (n, J, 2) of embeddings (n, dim): the person-specific parameters P e."""
        return self.P(embedding).unflatten(1, (-1, 2))

    def personalise(self, embedding: Tensor) -> None:
        """Replace the projection by the style of one person's embedding (1, dim), for finetuning (section 3.3)."""
        self.adain = nn.Parameter(self.style(embedding).detach().clone())
        del self.P

    def forward(self, landmarks: Tensor, style: Tensor) -> Tensor:
        x, styles = landmarks, iter(style.split(self.style_channels, dim=1))
        for layer in self.layers:
            x = layer(x, next(styles), next(styles)) if hasattr(layer, "style_channels") else layer(x)
        return torch.sigmoid(x.float())


class BatchRows(nn.Embedding):
    """The embeddings W_i of the videos of one batch; the table of all videos is too large for the network.

    They change with every batch, so they are not saved with the weights.
    """

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        pass

    def _load_from_state_dict(self, *arguments):
        pass


class Judgement(NamedTuple):
    """The outputs of the discriminator."""

    maps: list[Tensor]
    """The outputs of its residual blocks, for feature matching."""
    scores: Tensor
    """(n,), high for real."""
    rows: Tensor | None
    """The embeddings W_i of the videos (n, dim), without w0."""


class Discriminator(nn.Module):
    """D (section 3.1): realism score of picture, landmarks and the person of a video.

    `rows` maps video numbers to W_i; a personal discriminator (without) holds one person's w instead.
    """

    def __init__(self, entries: Body, dim: int, size: int, *, rows: nn.Embedding | None, pooling: str = "max"):
        super().__init__()
        check_layers(entries, ("D", "B", "I", "A"), "discriminator")
        self.layers, flow = build_layers(entries, Flow(6, size), network="discriminator")
        _check_dim(flow, dim, "discriminator")
        self.pool = POOL[pooling]
        self.b = nn.Parameter(torch.randn(()))
        if rows is None:
            self.w = nn.Parameter(torch.zeros(1, dim))
        else:
            self.w0 = nn.Parameter(torch.randn(1, dim))
            self.embedding = rows

    def personalise(self, embedding: Tensor) -> None:
        """Replace the rows by w' = w0 + embedding (1, dim) of one person, for finetuning (section 3.3)."""
        self.w = nn.Parameter((self.w0 + embedding).detach().clone())
        del self.w0, self.embedding

    def forward(self, pairs: Tensor, video: Tensor | None = None) -> Judgement:
        x, maps = pairs, []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, (Down, Residual)):
                maps.append(x)
        vector = F.relu(self.pool(x)).float()
        rows = None if video is None else self.embedding(video)
        # D(x, y, i) = V(x, y)^T (W_i + w0) + b
        scores = (vector * (self.w if rows is None else rows + self.w0)).sum(1) + self.b
        return Judgement(maps, scores, rows)


def _check_dim(flow: Flow, dim: int, network: str) -> None:
    if flow.channels != dim:
        raise UserError(
            f"--{network}_layers: the last layer gives {flow.channels} channels, but --embedding_dim is {dim}; make "
            f"them equal"
        )
