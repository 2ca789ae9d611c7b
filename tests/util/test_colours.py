"""Adjustments of colours equal Pillow's."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from util.colours import ADJUST

FACTORS = (0, 0.8, 0.913, 1, 1.0831, 1.2, 3)


def pictures():
    """Colours of all kinds: any, few and pure ones with greys, and dark ones, whose hues are coarse."""
    draw = np.random.default_rng(0)
    return [
        draw.integers(0, 256, (128, 128, 3), dtype=np.uint8),
        draw.integers(0, 4, (64, 64, 3), dtype=np.uint8) * np.uint8(85),
        draw.integers(0, 9, (64, 64, 3), dtype=np.uint8),
    ]


@pytest.mark.parametrize(
    ("name", "amounts"),
    [
        ("brightness", FACTORS),
        ("contrast", FACTORS),
        ("saturation", FACTORS),
        ("hue", (-0.5, -0.0937, -0.003, 0, 0.003, 0.2331, 0.5)),
    ],
)
def test_colours_are_adjusted_as_pillow_does(name, amounts):
    for picture in pictures():
        for amount in amounts:
            wanted = np.asarray(getattr(functional, f"adjust_{name}")(Image.fromarray(picture), amount))
            assert np.array_equal(ADJUST[name](picture, amount), wanted), amount
