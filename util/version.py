"""The version of Grimace, and of its environment."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

VERSION = "0.2.0"


def version_line() -> str:
    """The output of `--version`: the first line of a useful bug report."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "absent"
    return f"Grimace {VERSION} (Python {platform.python_version()}, torch {torch}, {platform.system()})"


def commit() -> str:
    """The commit of this checkout, with "-dirty" if files differ from it; "" without git."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # otherwise git would use a repository around the folder
        return ""
    call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        described = subprocess.run(
            call, capture_output=True, text=True, timeout=10, check=False, env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip() if described.returncode == 0 else ""
