"""Resizing that only selects pixels copies them, and equals the matrices of its definition."""

import numpy as np
import pytest

from util.resizing import axis_choice, axis_weights, resize, to_floats

SIZES = {"larger": (44, 33), "a little smaller": (37, 28), "half": (20, 15), "the same": (40, 30)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("nearest", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_resizing_is_the_product_with_the_weights_of_both_axes(size, nearest, kind):
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(kind)
    rows, columns = (axis_weights(old, new, nearest, True) for old, new in zip((40, 30), size, strict=True))
    wanted = np.tensordot(columns, np.tensordot(rows, to_floats(picture), (1, 0)), (1, 1)).swapaxes(0, 1)
    made = resize(picture, size, nearest=nearest, zeros=True)
    assert np.array_equal(made, wanted) and made.dtype == np.float32 and made.flags.c_contiguous


PICKED = [("larger", True, True), ("half", True, False), ("larger", False, False), ("the same", False, True)]


@pytest.mark.parametrize(("size", "nearest", "picks"), PICKED)
def test_pixels_are_picked_where_each_result_is_one_of_them(size, nearest, picks):
    chosen = axis_choice(40, SIZES[size][0], nearest, True)
    assert (chosen is not None) == picks
