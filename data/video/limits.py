"""How many pixels a picture or a frame may have: a file of a few bytes can claim more than the machine's memory."""

import os
from pathlib import Path
from typing import Any

from util.errors import UserError

VARIABLE = "GRIMACE_MAX_PIXELS"
"""Environment variable that holds the limit, so that worker processes of every kind have it."""
MAX_PIXELS = 100_000_000
"""The default: 10,000 x 10,000, or a strip of 1,500 frames of 256 x 256."""
OPTION_HELP = f"most pixels of a picture or frame; larger ones are refused before decoding [{MAX_PIXELS}]"


def limit_pixels(count: int | None) -> None:
    """Set the limit for this process and those it starts; None leaves it as it is."""
    if count is not None:
        os.environ[VARIABLE] = str(count)


def max_pixels() -> int:
    """The limit that holds now."""
    text = os.environ.get(VARIABLE) or str(MAX_PIXELS)
    if not (text.isdecimal() and int(text)):
        raise UserError(f"{VARIABLE}={text}: expected a number of pixels such as {MAX_PIXELS}")
    return int(text)


def check_canvas(path: Path | str, width: Any, height: Any) -> None:
    """Raise UserError for a picture or video whose header claims more pixels than the limit."""
    if width * height > max_pixels():
        raise UserError(
            f"{path}: claims {width} x {height} pixels, more than the limit of {max_pixels():,}; to accept it, raise "
            f"--max_pixels (or {VARIABLE})"
        )
