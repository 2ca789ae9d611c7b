"""Edge-guided animation: the plain step encodes the reference for every frame, runs VGG-19 six times per frame, and
builds patch maps of k x k times the size for attention; with stock operations only."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.face.family import FaceAnimation
from models.face.losses import TAPS, Features, FlowMaps, Perceptual, content_loss, flow_maps, style_loss
from models.face.networks import Frame, Generator, LocalAttention, Source
from models.parts.losses import Terms
from options import parse
from script.benchmarks.plain.parts import random_features, smooth_pictures

FASTER, LEANER = 1.5, 0.3
FRAMES = 6


def family(args: argparse.Namespace, repeating: bool) -> FaceAnimation:
    """The family at its default size, with random weights."""
    opt = parse(["--model=face", "--no_perceptual", f"--n_frames_total={FRAMES}"], training=True)
    made = FaceAnimation(opt, training=True)
    made.prepare_training(opt)
    features = Features(random_features(taps=tuple(TAPS), normalised=False))
    weights = (made.generator.attn_layer, opt.lambda_content, opt.lambda_style, opt.lambda_correct)
    made.perceptual = (RepeatingPerceptual if repeating else Perceptual)(features, *weights)
    if repeating:
        made.generator.__class__ = RepeatingGenerator
        for name, block in made.generator.target.named_children():
            if isinstance(block, LocalAttention):
                setattr(made.generator.target, name, PatchAttention.of(block))
    return made


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random clips of one chunk."""
    shape = (args.batch_size, FRAMES)
    frames = smooth_pictures(args.size, args.batch_size * FRAMES).unflatten(0, shape)
    return {"frames": frames, "structures": torch.rand(*shape, 16, args.size, args.size)}


class RepeatingGenerator(Generator):
    """Encodes the reference for every frame."""

    def forward(self, structure: Tensor, previous: Tensor, previous_structure: Tensor, reference: Source) -> Frame:
        reference = self.encode_reference(reference.picture, reference.structure)
        return super().forward(structure, previous, previous_structure, reference)


class PatchAttention(LocalAttention):
    """Attention with maps of all patches of source and target."""

    @classmethod
    def of(cls, block: LocalAttention) -> "PatchAttention":
        """Uses the weights of another block."""
        conv = block.fully_connect_layer[0]
        made = cls(conv.in_channels // 2, block.size, conv.out_channels)
        made.load_state_dict(block.state_dict())
        return made

    def keys(self, source: Tensor) -> Tensor:
        return source

    def forward(self, source: Tensor, keys: Tensor, target: Tensor, flow: Tensor) -> Tensor:
        patches = self.patches(source, flow)
        both = torch.cat([self.patches(target, torch.zeros_like(flow)), patches], 1)
        weights = F.pixel_shuffle(self.fully_connect_layer(both).softmax(1), self.size)
        return F.avg_pool2d(weights * patches, self.size)

    def patches(self, source: Tensor, flow: Tensor) -> Tensor:
        """Patches side by side: (B, C, size * h, size * w)."""
        height, width = source.shape[-2:]
        inside = torch.arange(self.size, device=flow.device) - self.size // 2
        columns, rows = (torch.arange(side, device=flow.device) for side in (width, height))
        x = self._spread(flow[:, 0] + columns) + inside.repeat(width)
        y = self._spread(flow[:, 1] + rows[:, None]) + inside.repeat(height)[:, None]
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], 3)
        return F.grid_sample(source, grid, padding_mode="border", align_corners=True)

    def _spread(self, values: Tensor) -> Tensor:
        return values.repeat_interleave(self.size, 1).repeat_interleave(self.size, 2)


class RepeatingPerceptual(Perceptual):
    """Runs the frozen network on target and source for each comparison."""

    def flow_maps(self, picture: Tensor) -> Any:
        return picture

    def forward(
        self, made: Sequence[Frame], real: Sequence[Tensor], reference: Tensor, previous: Tensor
    ) -> tuple[Terms, FlowMaps]:
        sums = dict.fromkeys(("correctness_p", "correctness_r", "content_gen", "style_gen"), 0.0)
        for frame, target in zip(made, real, strict=True):
            seen, wanted = self.features(frame.picture), self.features(target)
            sums["content_gen"] += self.content * content_loss(seen, wanted)
            sums["style_gen"] += self.style * style_loss(seen, wanted)
            for name, source in (("p", previous), ("r", reference)):
                goal, origin = (flow_maps(self.features(picture), self.layers) for picture in (target, source))
                terms = self.correctness(goal, origin, frame.flows(name))
                sums[f"correctness_{name}"] += self.weight * sum(terms.values())
            previous = frame.picture.detach()
        return sums, previous
