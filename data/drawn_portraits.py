"""Dataset mode `drawn_portraits`: LivePortrait learns from the ground truth of drawn people."""

from typing import Any

from data.drawn import DrawnDataset
from data.faces.portrait_annotations import Annotations, annotations_of
from data.portraits import PortraitsDataset
from data.sample_faces.clips import Truth
from util.errors import UserError


class DrawnPortraitsDataset(DrawnDataset, PortraitsDataset):
    """Training items as in the mode `drawn`, with landmarks, angles and boxes as in `portraits`; all else as there."""

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        if training and opt.annotations is not None:
            raise UserError(
                f"--annotations {opt.annotations or 'none'}: landmarks are those of the ground truth here; remove it, "
                f"or train with --dataset_mode portraits"
            )
        if self.jitter:
            raise UserError(
                f"--crop_jitter {self.jitter}: the true motion does not follow it; set it to 0, or train with "
                f"--dataset_mode portraits"
            )

    def annotations_in(self, truth: Truth, name: str) -> Annotations | None:
        known = {"landmarks": truth.landmarks, "rotation": truth.performance.rotation}
        return annotations_of(known, (truth.size, truth.size), len(truth), str(self.folder / name))
