"""Identity embeddings (N, D) per frame of a stream, NaN without a face."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metrics.parts.landmarks import found
from metrics.parts.openface import SIDE, OpenFaceNet
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from metrics.parts.weights import read_script
from util.arcface_template import SIDE as SIDE_OF_ARCFACE
from util.arcface_template import TEMPLATE
from util.errors import UserError
from util.onnx_network import load_onnx
from util.resizing import resize
from util.weights_file import read_weights

RECOGNISER = "dlib_face_recognition_resnet_model_v1.dat"
CHIP = 150
"""Side of the aligned face for dlib's recogniser; smaller faces are upsampled before points are rounded."""

ARCFACE_LENGTH = 512


class DlibEmbedding:
    """dlib's 128-d descriptor of a face aligned by its 68 points."""

    def __init__(self, tools: Tools):
        self._network = tools.share(RECOGNISER, _recogniser)

    def __call__(self, stream: Stream) -> np.ndarray:
        return _of_found_faces(stream, 128, self._describe)

    def _describe(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        import cv2
        import dlib

        low, high = points.min(0), points.max(0)
        # dlib rounds to whole pixels: on a face of 40 pixels this would shift the eyes noticeably.
        scale = max(1, math.ceil(CHIP / max(float(np.ptp(points, axis=0).max()), 8)))
        if scale > 1:
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            points, low, high = ((one + 0.5) * scale - 0.5 for one in (points, low, high))
        box = dlib.rectangle(*(round(float(edge)) for edge in (*low, *high)))
        shape = dlib.full_object_detection(box, [dlib.point(round(float(x)), round(float(y))) for x, y in points])
        return np.array(self._network.compute_face_descriptor(frame, shape))


def _of_found_faces(
    stream: Stream, length: int, describe: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The results of `describe` for each frame (H, W, 3) uint8 with its 68 points, NaN without a face."""
    points = stream.find("points/dlib")
    embeddings = np.full((len(points), length), np.nan)
    for index in np.flatnonzero(found(points)):
        embeddings[index] = describe(stream.bytes[index], points[index])
    return embeddings


def _recogniser():
    from data.faces.dlib_detector import import_dlib, load_model

    return load_model(import_dlib().face_recognition_model_v1, dlib_recogniser_files()["recogniser"])


def dlib_recogniser_files() -> dict[str, Path]:
    """The weights of dlib's recogniser, from face-recognition-models."""
    from data.faces.dlib_detector import find_model

    try:
        return {"recogniser": find_model(RECOGNISER, None, "--landmark_model")}
    except UserError:
        raise UserError(
            f"id/dlib: {RECOGNISER} not found; run: pip install face-recognition-models, or put it into dataset/"
        ) from None


class OpenFace:
    """OpenFace's 128-d embedding of the whole frame, without alignment or detection, as in pose-evaluation."""

    def __init__(self, tools: Tools):
        self._tools = tools
        self._network = tools.share("openface", lambda: _openface(tools))

    def __call__(self, stream: Stream) -> np.ndarray:
        import torch

        small = np.stack([resize(frame, (SIDE, SIDE)) for frame in stream.bytes])[..., ::-1]
        frames = torch.from_numpy(small.transpose(0, 3, 1, 2).copy()).to(self._tools.device, torch.float32)
        with torch.no_grad():
            parts = [self._network(frames[part]) for part in self._tools.batch_slices(len(frames))]
        return torch.cat(parts).double().cpu().numpy()


def _openface(tools: Tools):
    path = tools.weights.path("openface", "aed/openface-sq and aed/openface-l1")
    network = OpenFaceNet()
    try:
        network.load_state_dict(read_weights(path))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UserError(f"--openface {path}: not the weights of nn4.small2 ({str(error).splitlines()[0]})") from None
    return network.to(tools.device).eval()


class ArcFace:
    """Unit vectors of ArcFace networks, for faces aligned to 112 x 112 by eyes, nose and corners of the mouth."""

    def __init__(self, tools: Tools):
        self._network = tools.share("arcface", lambda: _arcface(tools.weights.path("arcface", "csim/arcface")))

    def __call__(self, stream: Stream) -> np.ndarray:
        return _of_found_faces(stream, ARCFACE_LENGTH, self._describe)

    def _describe(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        import cv2

        chip = cv2.warpAffine(frame, alignment(five_points(points)), (SIDE_OF_ARCFACE, SIDE_OF_ARCFACE))
        vector = self._network(((chip.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None])
        if vector.shape != (ARCFACE_LENGTH,):
            raise UserError(
                f"--arcface: its output has shape {vector.shape}; an ArcFace network has {ARCFACE_LENGTH} outputs"
            )
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


def five_points(points: np.ndarray) -> np.ndarray:
    """Centres of the eyes, tip of the nose and corners of the mouth, of 68 points."""
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


def alignment(points: np.ndarray) -> np.ndarray:
    """The similarity transform (2, 3) that fits five points to ArcFace's template (least squares)."""
    # In complex numbers rotation and scale are one factor.
    here, there = points @ np.array([1, 1j]), np.array(TEMPLATE) @ np.array([1, 1j])
    middle, target = here.mean(), there.mean()
    factor = np.vdot(here - middle, there - target) / np.vdot(here - middle, here - middle)
    shift = target - factor * middle
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _arcface(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a function of pictures (1, 3, 112, 112): ONNX by the suffix of the file, else TorchScript."""
    import torch

    if path.suffix.lower() == ".onnx":
        run = load_onnx(path, "--arcface")
        return lambda picture: np.asarray(run(picture)[0][0], np.float64)
    network = read_script(path, torch.device("cpu"))

    def describe(picture: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(picture)).double().numpy()[0]

    return describe
