"""Faces by the face-alignment package: SFD or BlazeFace boxes and a stacked-hourglass network for 68 points."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from data.faces.detector import Detector, shrink
from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights, refuse_unusable

ALIGNMENT = "2DFAN4*.pth*"
DETECTORS = {"sfd": "s3fd*.pth", "blazeface": "blazeface.pth", "blazeface-back": "blazefaceback.pth"}
ANCHORS = {"blazeface.pth": "anchors.npy", "blazefaceback.pth": "anchorsback.npy"}
PAGE = "https://github.com/1adrianb/face-alignment"
# Longer side of whole frames during search; --upsample 1 doubles it.
SEARCH_SIDE = 640
# What the alignment network was trained to see: a square with 200/195 of the sum of the box's sides, whose centre lies
# 12 % of the box's height above the box's, at 256 pixels.
VIEW_SIDES, RAISE, VIEW = 200 / 195, 0.12, 256


def import_face_alignment():
    """Import face-alignment, or explain how to install it."""
    try:
        import face_alignment
    except ImportError as error:
        raise UserError(f"face-alignment cannot be imported ({error}); run: pip install face-alignment") from error
    return face_alignment


def find_weights(pattern: str, given: Path | None, option: str) -> Path:
    """Find a weights file: at the given path, in the dataset folder, then in torch's cache."""
    if given is not None and not Path(given).is_dir():
        if not Path(given).is_file():
            raise UserError(f"{given}: no such file; {option} expects a file like {pattern}, or its folder")
        return Path(given)
    folders = [Path(given)] if given is not None else [Path("dataset"), Path(torch.hub.get_dir()) / "checkpoints"]
    for folder in folders:
        for path in sorted(folder.glob(pattern)):
            return path
    raise UserError(
        f"no weights {pattern} in {', '.join(map(str, folders))}; download them from {PAGE} into dataset/, or set "
        f"{option} (Grimace downloads nothing by itself)"
    )


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

        path = find_weights(ALIGNMENT, model, "--landmark_model")
        weights = read_weights(path)
        refuse_unusable(weights, path)
        self.batch_size = batch_size
        self._device = torch.device(device)
        self._side = SEARCH_SIDE * 2**upsample
        self._network = FAN(4)
        with reading(f"--landmark_model {path}", "the weights are not those of the 2-D network", "name others"):
            self._network.load_state_dict(weights)
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
        """Batches of indices of frames of equal size."""
        shapes: dict = {}
        for index, frame in enumerate(frames):
            shapes.setdefault(frame.shape, []).append(index)
        for indices in shapes.values():
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size]

    @torch.no_grad()
    def landmarks_of(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """The 68 points in each box; faces of all frames go through the network together."""
        jobs = [(row, *view_of(box)) for row, own in enumerate(boxes) for box in own]
        results: list[list[np.ndarray]] = [[] for _ in frames]
        for start in range(0, len(jobs), self.batch_size):
            part = jobs[start : start + self.batch_size]
            views = np.stack([cut_view(frames[row], corner, side) for row, corner, side in part])
            maps = self._heat_maps(torch.from_numpy(views)).cpu().numpy()
            for (row, corner, side), points in zip(part, peaks(maps), strict=True):
                results[row].append((points * side + corner - 0.5).astype(np.float32))
        return results

    def _heat_maps(self, views: torch.Tensor) -> torch.Tensor:
        """Heatmaps of the faces, averaged with those of their mirror images."""
        from face_alignment.utils import flip

        inputs = views.permute(0, 3, 1, 2).to(self._device, torch.float32) / 255
        direct, mirrored = self._last(inputs), self._last(flip(inputs))
        return (direct + flip(mirrored, is_label=True)) / 2

    def _last(self, inputs):
        output = self._network(inputs)
        return output[-1] if isinstance(output, list) else output


def view_of(box: np.ndarray) -> tuple[np.ndarray, float]:
    """Upper left corner and side of the square that the alignment network wants to see around the face in a box."""
    width, height = box[2] - box[0], box[3] - box[1]
    side = VIEW_SIDES * (width + height)
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - RAISE * height]) - side / 2, float(side)


def cut_view(frame: np.ndarray, corner: np.ndarray, side: float) -> np.ndarray:
    """A square of the frame at the network's size; black beyond the frame, as in its training."""
    scale = side / VIEW
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]]) + [0, 0, scale / 2 - 0.5]
    return cv2.warpAffine(frame, matrix, (VIEW, VIEW), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def peaks(maps: np.ndarray) -> np.ndarray:
    """Where heatmaps (faces, points, rows, columns) peak, as (x, y) in parts of the side.

    The peak's middle is moved by a quarter of a cell towards the larger of its neighbours on each axis.
    """
    count, points, rows, columns = maps.shape
    y, x = np.divmod(maps.reshape(count, points, -1).argmax(-1), columns)
    face, point = np.ogrid[:count, :points]
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    right, left = padded[face, point, y + 1, x + 2], padded[face, point, y + 1, x]
    below, above = padded[face, point, y + 2, x + 1], padded[face, point, y, x + 1]
    position = np.stack([x + 0.5 + np.sign(right - left) / 4, y + 0.5 + np.sign(below - above) / 4], -1)
    return position / (columns, rows)


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
            raise UserError(f"{anchors}: missing; put the anchors of BlazeFace beside its weights (see {PAGE})")
        build = {
            "path_to_detector": str(path),
            "path_to_anchor": str(anchors),
            "back_model": name == "blazeface-back",
        }
    try:
        return FaceDetector(device, **build)
    except Exception as error:
        raise UserError(f"{path}: not the weights of {name} ({error}); download them again from {PAGE}") from error
