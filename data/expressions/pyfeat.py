"""Action units of pictures by py-feat, where it is installed (pip install py-feat)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from util.errors import UserError
from util.expressions import STRONGEST, UNITS, Unit

SCORE = "FaceScore"
SIDES = ("FaceRectWidth", "FaceRectHeight")
STANDS_FOR = {"AU45": "AU43"}
"""Units that py-feat lacks -> their substitutes: in a single picture a blink is closed eyes."""


class UnitReader:
    """Reads the units of the largest face of a picture.

    py-feat's columns go from 0 to 1 and are multiplied by 5. That is the same scale, not the same measure: its numbers
    say how sure it is, or how strong; OpenFace's, on which the released models were trained, how strong.
    """

    def __init__(self, units: Sequence[Unit] = UNITS, detector: Any = None, device: str = "cpu"):
        """`detector` is one of py-feat's; default: its detector of separate models."""
        self.units = units
        self.detector = _build(device) if detector is None else detector

    def read(self, picture: np.ndarray) -> np.ndarray:
        """Intensities (C,) from 0 to 5 of an RGB picture (H, W, 3) uint8."""
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()
        table = self.detector.detect(batch, data_type="tensor", progress_bar=False)
        return self.intensities(table)

    def intensities(self, table: Any) -> np.ndarray:
        """The intensities in a table of py-feat, one row per face; rows without a face have no numbers."""
        sides = [np.asarray(table[name], np.float64) for name in SIDES]
        sizes = np.where(np.asarray(table[SCORE], np.float64) > 0, sides[0] * sides[1], np.nan)
        if not np.isfinite(sizes).any():
            raise UserError("py-feat finds no face in the picture; set its units with --au, or give a table")
        row = int(np.nanargmax(sizes))
        names = [self._column(unit, table) for unit in self.units]
        values = [float(np.asarray(table[name], np.float64)[row]) for name in names]
        return (STRONGEST * np.clip(values, 0, 1)).astype(np.float32)

    def _column(self, unit: Unit, table: Any) -> str:
        for name in (unit.column, STANDS_FOR.get(unit.column)):
            if name in table:
                return name
        raise UserError(f"py-feat's table has no {unit.column}; this model needs it: use OpenFace's tables")


def _build(device: str) -> Any:
    try:
        import feat
    except ImportError as error:
        raise UserError(
            f"py-feat cannot be imported ({error}); run: pip install py-feat, or give OpenFace's tables "
            "(--driving_aus, --own_aus)"
        ) from error
    # Since 0.7 the detector of separate models has this name.
    kind = feat.Detectorv1 if hasattr(feat, "Detectorv1") else feat.Detector
    return kind(device=device)
