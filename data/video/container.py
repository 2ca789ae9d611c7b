"""Opening the files that PyAV reads and writes."""

from pathlib import Path
from typing import Any


def open_container(path: Path | str, mode: str = "r", **settings: Any) -> Any:
    """PyAV's container for the file at this path."""
    import av

    # Some versions of torchvision have FFmpeg's messages passed on to Python: a decoding thread that has one waits for
    # the interpreter, and whoever closes the decoder holds the interpreter and waits for that thread.
    av.logging.set_level(None)
    # "file:" keeps names with a colon from being taken for addresses.
    return av.open(f"file:{path}", mode, **settings)
