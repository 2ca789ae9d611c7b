"""Checks of paths."""

from pathlib import Path


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether a path, relative to a folder, leads outside of it.

    Links inside the folder may be followed as long as the path does not climb back out of them.
    """
    if not path.is_absolute() and ".." not in path.parts:
        return False
    return not (folder / path).resolve().is_relative_to(folder.resolve())
