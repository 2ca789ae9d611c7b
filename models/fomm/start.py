"""A start for small models that are trained for minutes: the untrained generator repeats the source picture."""

import torch

from models.fomm.networks import Generator
from util.errors import UserError

TRUST = 3.0
"""Logit of the occlusion maps at the start: the warped source counts for 0.95."""
SHARE = 0.1
"""Of the random weights, so much stays."""
SPREAD = 0.5
"""Distance of the points at which the features of a colour begin, in standard deviations of the colour."""


@torch.no_grad()
def start_with_source(generator: Generator) -> None:
    """Make features of each colour and its negative at every pixel, and the picture from their differences.

    A feature is cut at 0, so several that begin at different values leave the last layer a curve to learn, which the
    sigmoid behind it needs.
    """
    first, channels = generator.first, generator.final.out_channels
    curves = first.conv.out_channels // (2 * channels)
    if generator.down_blocks or not curves:
        raise UserError(
            f"--start_with_source needs --num_down_blocks 0 and --generator_block_expansion {2 * channels} or more: "
            "the features of the first layer lead to the picture"
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
    motion = generator.dense_motion_network
    if motion is not None and motion.occlusion is not None:
        motion.occlusion.bias.fill_(TRUST)
