"""The version of Grimace, and of what it runs on."""

import platform
from importlib import metadata

VERSION = "0.2.0"


def version_line() -> str:
    """What `--version` prints: the first line of a useful report."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "absent"
    return f"Grimace {VERSION} (Python {platform.python_version()}, torch {torch}, {platform.system()})"
