"""Dataset modes as `benchmark.py data --modes` measures them on drawn people: their options, folders and bars."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
AUGMENTED = (
    "--time_flip", "--horizontal_flip", "--rotation_degrees=10", "--resize_ratio=0.9,1.1", "--jitter_brightness=0.1",
    "--jitter_contrast=0.1", "--jitter_saturation=0.1", "--jitter_hue=0.1",
)  # fmt: skip
"""All augmentations; published configurations have a flip and jitter."""


@dataclass(frozen=True)
class Mode:
    """A dataset mode as it is measured."""

    words: tuple[str, ...]
    """Options of train.py; {size} is the side of the pictures."""
    folder: str = "."
    """The data, below the folder of the drawn people."""
    frames: int = 1
    """Frames of a sample that count one by one."""
    bar: float | None = None
    """Samples (or frames) per second of one core that were promised."""


MODES = {
    "frames, packed": Mode(("--model=fomm",), "packed"),
    "frames, packed, jitter and flip": Mode(
        ("--model=fomm", "--horizontal_flip", "--time_flip", *AUGMENTED[4:]), "packed"
    ),
    "frames, packed, all augmentations": Mode(
        ("--model=fomm", *AUGMENTED, "--crop_size={size},{size}"), "packed", bar=400
    ),
    "frames, mp4": Mode(("--model=fomm",)),
    "frames_prior, packed": Mode(("--model=fomm_prior", "--default_points"), "packed"),
    "drawn": Mode(("--model=fomm", "--dataset_mode=drawn")),
    "drawn_portraits": Mode(("--model=live_portrait", "--dataset_mode=drawn_portraits")),
    "face, cached edges (frames)": Mode(("--model=face", "--load_size={size}"), frames=30, bar=300),
    "aus": Mode(("--model=ganimation", "--image_size={size}"), "aus"),
    "talking_head, known landmarks": Mode(("--model=talking_head", "--image_size={size}"), "talking_head", bar=200),
    "the same, by frames": Mode(("--model=talking_head", "--image_size={size}"), "talking_head", frames=9),
    "portraits, packed": Mode(("--model=live_portrait",), "packed"),
}
"""What is measured, by its name in the table."""


def draw_people(folder: Path, size: int) -> None:
    """Draw people in all layouts, and pack their clips."""
    command = [sys.executable, str(ROOT / "script" / "make_sample_dataset.py"), f"--out={folder}", f"--size={size}"]
    people = ["--identities=2", "--clips=1", "--frames=32", "--workers=1"]
    layouts = ["--layouts", "frames", "aus", "talking_head", "motion"]
    subprocess.run([*command, *people, *layouts], check=True, capture_output=True)
    packing = [sys.executable, str(ROOT / "script" / "pack_frames.py"), "--workers=1"]
    for split in ("train", "test"):
        ends = [f"--in={folder / split}", f"--out={folder / 'packed' / split}"]
        subprocess.run([*packing, *ends], check=True, capture_output=True)
