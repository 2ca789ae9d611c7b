"""Check that this Python has what Grimace needs: every requirement within its bounds, and importable."""

import importlib
import re
import sys
from importlib import metadata
from pathlib import Path

IMPORT_NAMES = {
    "opencv-python": "cv2",
    "dlib-bin": "dlib",
    "face-alignment": "face_alignment",
    "scikit-image": "skimage",
    "pyyaml": "yaml",
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "protobuf": "google.protobuf",
    "face-recognition-models": None,  # only its data file is used; importing it needs an old setuptools
    "ruff": None,
}


def requirements() -> dict[str, str]:
    """Package -> its version bounds, from the requirements files."""
    root = Path(__file__).resolve().parents[1]
    lines = [line for name in ("", "-dev") for line in (root / f"requirements{name}.txt").read_text().splitlines()]
    found = (re.match(r"([A-Za-z][\w-]*)\s*([<>=!~].*)?$", line) for line in lines)
    return {match[1]: match[2] or "" for match in found if match}


def numbers(version: str) -> tuple[int, ...]:
    """1.2.3+cu130 -> (1, 2, 3)"""
    return tuple(int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0]))


def within(version: str, bounds: str) -> bool:
    """Whether a version satisfies ">=a,<b" or "==c"."""
    have = numbers(version)
    for operator, bound in re.findall(r"(>=|<|==)\s*([\d.]+)", bounds):
        limit = numbers(bound)
        if not {">=": have >= limit, "<": have < limit, "==": have == limit}[operator]:
            return False
    return True


def problem_with(package: str, bounds: str) -> str | None:
    """The problem with one requirement, or None."""
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"{package} is not installed"
    if not within(version, bounds):
        return f"{package} {version} is installed, {bounds} is needed"
    name = IMPORT_NAMES.get(package, package.replace("-", "_"))
    try:
        if name:
            importlib.import_module(name)
    except Exception as error:  # whatever breaks an import makes the package unusable
        return f"{package} {version} does not import: {type(error).__name__}: {error}"
    return None


def main() -> int:
    """List the problems; status 1 if there are any."""
    found = [problem_with(package, bounds) for package, bounds in requirements().items()]
    problems = [problem for problem in found if problem]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
