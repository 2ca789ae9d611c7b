"""The parts of a dataset of clips: train/ and test/ in its folder, or the clips themselves."""

from pathlib import Path

PARTS = ("train", "test")


def parts_of(root: Path) -> list[Path]:
    """The parts that a dataset has; without any its folder holds the clips of both. Who only animates needs test/."""
    return [root / part for part in PARTS if (root / part).is_dir()]
