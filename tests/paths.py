"""Where the project and the facts beside it lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "reference"
REAL = ROOT.parent / "shared" / "data"
"""A few real clips and pictures; not part of the project, and tests that need them are skipped without."""
