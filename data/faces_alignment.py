"""Faces by the face-alignment package: SFD or BlazeFace boxes and a stacked-hourglass network for 68 points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data.faces import POINTS, Detector, shrink
from util.errors import UserError

ALIGNMENT = "2DFAN4*.pth*"
DETECTORS = {"sfd": "s3fd*.pth", "blazeface": "blazeface.pth", "blazeface-back": "blazefaceback.pth"}
ANCHORS = {"blazeface.pth": "anchors.npy", "blazefaceback.pth": "anchorsback.npy"}
PAGE = "https://github.com/1adrianb/face-alignment"
# The longer side at which whole frames are searched; --upsample 1 doubles it.
SEARCH_SIDE = 640
# How the alignment network was trained to see a face: box sides that sum to 195 make the scale 1, and the
# centre lies 12 % of the height above that of the box.
REFERENCE_SIDES, RAISE = 195.0, 0.12


def import_face_alignment():
    """Import face-alignment, or say how to install it."""
    try:
        import face_alignment
    except ImportError as error:
        raise UserError(f"face-alignment cannot be imported ({error}); run: pip install face-alignment") from error
    return face_alignment


def find_weights(pattern: str, given: Path | None, option: str) -> Path:
    """Look for a weights file where the user says, in the dataset folder, then where torch keeps downloads."""
    if given is not None and not Path(given).is_dir():
        if not Path(given).is_file():
            raise UserError(f"{given}: no such file; {option} takes a file like {pattern} or the folder that holds it")
        return Path(given)
    folders = [Path(given)] if given is not None else [Path("dataset"), Path(torch.hub.get_dir()) / "checkpoints"]
    for folder in folders:
        for path in sorted(folder.glob(pattern)):
            return path
    raise UserError(
        f"no weights {pattern} in {', '.join(map(str, folders))}; fetch them from {PAGE} (nothing is downloaded "
        f"behind your back) and put them into dataset/, or name them with {option}"
    )


def read_weights(path: Path) -> dict:
    """Read a state dict, never code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a file of weights ({error}); fetch it again from {PAGE}") from error


class AlignmentDetector(Detector):
    """Boxes by SFD or BlazeFace and points by the 2-D alignment network, both in batches on any device."""

    def __init__(
        self,
        model: Path | None = None,
        detector: str = "sfd",
        detector_model: Path | None = None,
        upsample: int = 0,
        device: str = "cpu",
        batch_size: int = 8,
    ):
        import_face_alignment()
        from face_alignment.models import FAN

        weights = read_weights(find_weights(ALIGNMENT, model, "--landmark_model"))
        self.batch_size = batch_size
        self._device = torch.device(device)
        self._side = SEARCH_SIDE * 2**upsample
        self._network = FAN(4)
        try:
            self._network.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"--landmark_model: the weights are not those of the 2-D network ({error})") from error
        self._network.to(self._device).eval()
        self._boxes = load_box_detector(detector, detector_model, device)

    def find(self, frames: Sequence[np.ndarray], near: bool = False) -> list[list[tuple[np.ndarray, float]]]:
        """Boxes and scores per frame; frames of one size go through the detector together."""
        scales = [1.0 if near else min(1.0, self._side / max(frame.shape[:2])) for frame in frames]
        small = [shrink(frame, scale) if scale < 1 else frame for frame, scale in zip(frames, scales, strict=True)]
        results: list = [None] * len(frames)
        for indices in self._batches(small):
            batch = torch.from_numpy(np.stack([small[index] for index in indices])).permute(0, 3, 1, 2)
            for index, found in zip(indices, self._boxes.detect_from_batch(batch.to(self._device)), strict=True):
                found = np.asarray(found, dtype=np.float64).reshape(-1, 5)
                results[index] = [(row[:4] / scales[index], float(row[4])) for row in found]
        return results

    def _batches(self, frames):
        """Groups of indices of frames of one size, no longer than a batch."""
        shapes: dict = {}
        for index, frame in enumerate(frames):
            shapes.setdefault(frame.shape, []).append(index)
        for indices in shapes.values():
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size]

    @torch.no_grad()
    def place(self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """The 68 points in each box; faces of all frames go through the network together."""
        from face_alignment.utils import crop, get_preds_fromhm

        jobs = [(row, *view_of(box)) for row, places in enumerate(boxes) for box in places]
        results: list[list[np.ndarray]] = [[] for _ in frames]
        for start in range(0, len(jobs), self.batch_size):
            part = jobs[start : start + self.batch_size]
            views = np.stack([crop(frames[row], centre, scale) for row, centre, scale in part])
            maps = self._heat_maps(torch.from_numpy(views)).cpu().numpy()
            for (row, centre, scale), map_ in zip(part, maps, strict=True):
                points = get_preds_fromhm(map_[None], centre, scale)[1]
                results[row].append(np.asarray(points, dtype=np.float32).reshape(POINTS, 2))
        return results

    def _heat_maps(self, views: torch.Tensor) -> torch.Tensor:
        """Mean heat maps of the faces and of their mirror images."""
        from face_alignment.utils import flip

        inputs = views.permute(0, 3, 1, 2).to(self._device, torch.float32) / 255
        direct, mirrored = self._last(inputs), self._last(flip(inputs))
        return (direct + flip(mirrored, is_label=True)) / 2

    def _last(self, inputs):
        output = self._network(inputs)
        return output[-1] if isinstance(output, list) else output


def view_of(box: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and scale at which the alignment network wants to see the face in a box."""
    width, height = box[2] - box[0], box[3] - box[1]
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - RAISE * height])
    return centre, float((width + height) / REFERENCE_SIDES)


def load_box_detector(name: str, given: Path | None, device: str):
    """The package's box detector with local weights."""
    path = find_weights(DETECTORS[name], given, "--face_detector_model")
    if name == "sfd":
        from face_alignment.detection.sfd import FaceDetector

        build = {"path_to_detector": str(path)}
    else:
        from face_alignment.detection.blazeface import FaceDetector

        anchors = path.with_name(ANCHORS[DETECTORS[name]])
        if not anchors.is_file():
            raise UserError(f"{anchors}: missing; BlazeFace needs its anchors beside its weights (see {PAGE})")
        build = {
            "path_to_detector": str(path),
            "path_to_anchor": str(anchors),
            "back_model": name == "blazeface-back",
        }
    try:
        return FaceDetector(device, **build)
    except Exception as error:
        raise UserError(f"{path}: not the weights of {name} ({error}); fetch them again from {PAGE}") from error
