"""Initialisation of small models that are trained for minutes: the untrained generator outputs the source picture."""

import torch

from models.fomm.networks import Generator
from util.errors import UserError

TRUST = 3.0
"""Initial logit of the occlusion maps: a weight of 0.95 for the warped source."""
SHARE = 0.1
"""Scale of the random weights that remain."""
SPREAD = 0.5
"""Distance between the thresholds of a colour's features, in standard deviations of the colour."""


@torch.no_grad()
def start_with_source(generator: Generator) -> None:
    """Show the source through the occlusion map; without --composite the layers repeat it, too."""
    motion = generator.dense_motion_network
    if motion is not None and motion.occlusion is not None:
        motion.occlusion.bias.fill_(TRUST)
    if not generator.composite:
        _repeat(generator)


def _repeat(generator: Generator) -> None:
    """Initialise features as each colour and its negative at every pixel, and the picture as their differences.

    ReLU cuts a feature at 0, so several features with different thresholds let the last layer learn a curve, which the
    final sigmoid requires.
    """
    first, channels = generator.first, generator.final.out_channels
    curves = first.conv.out_channels // (2 * channels)
    if generator.down_blocks or not curves:
        raise UserError(
            f"--start_with_source needs --num_down_blocks 0 and --generator_block_expansion {2 * channels} or more: "
            "to pass the first features to the output; or --composite, which copies the source's pixels"
        )
    for layer in (first.conv, generator.final):
        layer.weight.mul_(SHARE)
        layer.bias.zero_()
    for block in generator.bottleneck:
        block.conv2.weight.zero_()
        block.conv2.bias.zero_()
    for channel in range(channels):
        for sign in (1, -1):
            for curve in range(curves):
                feature = (2 * channel + (sign < 0)) * curves + curve
                first.conv.weight[feature, channel, 3, 3] += sign
                first.norm.bias[feature] = SPREAD * (curve - (curves - 1) / 2)
                generator.final.weight[channel, feature, 3, 3] += sign / curves
