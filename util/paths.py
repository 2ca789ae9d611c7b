"""Where a path leads."""

from pathlib import Path


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether a path, seen from a folder, is none of a file in it or below it.

    Links that somebody put into the folder are theirs to follow, as long as the path does not climb back out of them.
    """
    if not path.is_absolute() and ".." not in path.parts:
        return False
    return not (folder / path).resolve().is_relative_to(folder.resolve())
