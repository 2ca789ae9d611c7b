"""The eight scores of THEval (Quignon et al., CVPR 2026 Findings), with dlib's landmarks instead of MediaPipe's.

Each score of a method is 1 - |method - truth| / |truth| of its mean over videos. A program that replays the driving
video scores 1 everywhere: read the control rows first. With dlib's landmarks the values are not comparable with a
leaderboard.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from metrics.metric import Batch, Columns, Metric, Video
from metrics.parts.landmarks import SEARCH_EVERY, dlib_files, found
from metrics.parts.loudness import loudness
from metrics.parts.openings import mouth_opening, outer_eyes
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from metrics.parts.weights import read_script

LIPS = np.array(list(combinations(range(48, 68), 2)))
EYES, BROWS = (range(36, 42), range(42, 48)), (range(17, 22), range(22, 27))
LONGEST = 500
SILENT_SECONDS = 0.3
SILENT_SHARE = 0.1
"""A frame is silent below this fraction of the video's loud frames (their 95th percentile)."""
LANDMARKS = f"dlib 68, HOG followed, searched every {SEARCH_EVERY}"


class _Score(Metric):
    """Base: stores a few numbers per frame, from which `value` computes a video's value."""

    is_group = True
    better = "like truth"
    needs = ("truth|driving",)
    in_time = True
    used_by = "THEval"
    settings = {"landmarks": LANDMARKS, "instead of": "MediaPipe"}
    libraries = ("dlib-bin",)

    @property
    def columns(self) -> tuple[str, ...]:
        """None: only videos have values."""
        return ()

    def weights(self) -> Mapping[str, Path]:
        """The landmark detector."""
        return dlib_files()

    def begin(self, video: Video) -> None:
        """Start a video."""
        self._video = video
        self._rows: dict[str, list[np.ndarray]] = {"": [], ".truth": []}
        self._files = {"": video.files.get("result"), ".truth": video.files.get("truth", video.files.get("driving"))}

    def update(self, batch: Batch) -> Columns:
        """Nothing per frame."""
        for key, stream in (("", batch.result), (".truth", batch.either("truth", "driving"))):
            self._rows[key].append(self.rows(stream))
        return {}

    def rows(self, stream: Stream) -> np.ndarray:
        """The numbers (N, ...) per frame for a video's value, NaN without a face."""
        raise NotImplementedError

    def value(self, rows: np.ndarray, key: str) -> float:
        """A video's value, or NaN."""
        raise NotImplementedError

    def finish(self) -> dict[str, float]:
        """The values of result and truth."""
        return {f"{self.name}{key}": self.value(np.concatenate(rows), key) for key, rows in self._rows.items()}

    def totals(self, videos: list[Mapping[str, float]]) -> dict[str, float]:
        """The score, from the means over the videos in which method and truth have a value."""
        pairs = np.array([[one[self.name], one[f"{self.name}.truth"]] for one in videos])
        known = pairs[np.isfinite(pairs).all(1)]
        method, truth = known.mean(0).tolist() if len(known) else (np.nan, np.nan)
        return {f"{self.name}.score": 1 - abs(method - truth) / abs(truth) if truth else float("nan")}


class LipDynamics(_Score):
    """Variation of the lip shape."""

    name = "theval/lip_dynamics"
    says = f"variance over the first {LONGEST} frames of all distances between lip points, per distance of the eyes"

    def rows(self, stream: Stream) -> np.ndarray:
        """Distances of all pairs of lip points."""
        points = stream.find("points/dlib")
        lengths = np.linalg.norm(points[:, LIPS[:, 0]] - points[:, LIPS[:, 1]], axis=-1)
        return lengths / outer_eyes(points)[:, None]

    def value(self, rows: np.ndarray, key: str) -> float:
        """Mean variance of the distances."""
        rows = rows[:LONGEST]
        return _mean(rows[found(rows)].var(0)) if found(rows).any() else float("nan")


class HeadDynamics(_Score):
    """Motion of the head."""

    name = "theval/head_dynamics"
    says = "sqrt(mean deviation of the angles x mean variance of their steps + mean variance of the face's position)"
    settings = {"landmarks": LANDMARKS, "instead of": "FaceXFormer and RetinaFace", "pose": "solvePnP of six points"}

    def rows(self, stream: Stream) -> np.ndarray:
        """Three angles and the centre of the face, in pixels of the frame."""
        points = stream.find("points/dlib")
        return np.concatenate([stream.find("pose"), (points.min(1) + points.max(1)) / 2], axis=1)

    def value(self, rows: np.ndarray, key: str) -> float:
        """Complexity of the motion, over the frames with a face."""
        rows = rows[found(rows)]
        if len(rows) < 3:
            return float("nan")
        turning = rows[:, :3].std(0).mean() * np.diff(rows[:, :3], axis=0).var(0).mean()
        return float(np.sqrt(turning + rows[:, 3:].var(0).mean()))


class EyebrowDynamics(_Score):
    """Motion of the eyebrows."""

    name = "theval/eyebrow_dynamics"
    says = "mean change between frames of the distance of brow and eye, per distance of the eyes"

    def rows(self, stream: Stream) -> np.ndarray:
        """Distance between brow and eye on either side."""
        points = stream.find("points/dlib")
        eyes, brows = (np.stack([points[:, list(side)].mean(1) for side in sides], 1) for sides in (EYES, BROWS))
        return np.linalg.norm(brows - eyes, axis=-1) / np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1)[:, None]

    def value(self, rows: np.ndarray, key: str) -> float:
        """Variation over frames with a face, treated as consecutive."""
        rows = rows[found(rows)]
        return _mean(np.abs(np.diff(rows, axis=0))) if len(rows) > 1 else float("nan")


class _WithSound(_Score):
    settings = {
        "landmarks": LANDMARKS, "instead of": "MediaPipe; voice by loudness, not Silero",
        "silent": f"below {SILENT_SHARE} of the 95th percentile", "least silence": SILENT_SECONDS,
    }  # fmt: skip

    def rows(self, stream: Stream) -> np.ndarray:
        """Opening of the mouth."""
        return mouth_opening(stream.find("points/dlib"))

    def sound(self, key: str, count: int) -> np.ndarray | None:
        """Loudness of each frame: of the result's own sound, or else the truth's."""
        for path in (self._files[key], self._files[".truth"]):
            if path is not None and (loud := loudness(path, self._video.fps, count)) is not None:
                return loud
        return None


class SilentLipStability(_WithSound):
    """Stillness of the lips during silence."""

    name = "theval/silent_lip_stability"
    says = "median deviation of the mouth's opening from its mean, in silences of 0.3 s and more"

    def value(self, rows: np.ndarray, key: str) -> float:
        """NaN for a video without sound or silence."""
        loud = self.sound(key, len(rows))
        if loud is None:
            return float("nan")
        opening = rows[silences(loud, float(self._video.fps)) & np.isfinite(rows)]
        return float(np.median(np.abs(opening - opening.mean()))) if len(opening) > 1 else float("nan")


class LipSync(_WithSound):
    """Correlation between mouth opening and loudness."""

    name = "theval/lip_sync"
    says = "mean difference of the mouth's opening and the loudness, each brought to 0..1, while somebody speaks"

    def value(self, rows: np.ndarray, key: str) -> float:
        """NaN for a video with too little speech."""
        loud = self.sound(key, len(rows))
        if loud is None:
            return float("nan")
        speech = ~silent(loud) & np.isfinite(rows)
        if speech.mean() < 0.1 or speech.sum() < 2:
            return float("nan")
        opening, volume = (_to_unit(values[speech]) for values in (rows, loud))
        return _mean(np.abs(opening - volume))


class _Quality(_Score):
    """Score of a picture-quality network; the network is a TorchScript file named by the user."""

    settings = {"network": "TorchScript of (N, 3, H, W) in [0, 1] to a score each"}
    libraries = ()
    file = ""

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._network = tools.share(self.name, lambda: read_script(self.weights()["network"], tools.device))

    def weights(self) -> Mapping[str, Path]:
        """Load the network."""
        return {"network": self.tools.weights.path(self.file, self.name)}

    def rows(self, stream: Stream) -> np.ndarray:
        """The score of each frame."""
        scores = []
        with torch.no_grad():
            for picture in self.pictures(stream):
                scores.append(np.nan if picture is None else float(self._network(picture[None]).reshape(-1)[0]))
        return np.array(scores)

    def pictures(self, stream: Stream) -> list[torch.Tensor | None]:
        """The input of the network for each frame."""
        return list(stream.pixels)

    def value(self, rows: np.ndarray, key: str) -> float:
        """The mean over frames."""
        return _mean(rows[np.isfinite(rows)]) if np.isfinite(rows).any() else float("nan")


class GlobalAesthetics(_Quality):
    """Quality of whole frames."""

    name = "theval/global_aesthetics"
    says = "mean TOPIQ-IAA of the frames"
    file = "theval_aesthetics"


class FaceQuality(_Quality):
    """Quality of whole frames, with THEval's face network, as in its script."""

    name = "theval/face_quality"
    says = "mean TOPIQ-NR-face of the frames"
    file = "theval_face"


class MouthQuality(_Quality):
    """Quality of the mouth with a margin of ten pixels."""

    name = "theval/mouth_quality"
    says = "mean MUSIQ of the mouth with 10 pixels around it"
    file = "theval_mouth"

    def pictures(self, stream: Stream) -> list[torch.Tensor | None]:
        """The crops of the mouth."""
        mouths = []
        for frame, points in zip(stream.pixels, stream.find("points/dlib")[:, 48:], strict=True):
            if not np.isfinite(points).all():
                mouths.append(None)
                continue
            left, top = np.maximum(points.min(0).astype(int) - 10, 0)
            right, bottom = np.maximum(points.max(0).astype(int) + 10, (left + 1, top + 1))
            mouths.append(frame[:, top:bottom, left:right])
        return mouths


def silent(loud: np.ndarray) -> np.ndarray:
    """Mask of silent frames."""
    return loud < SILENT_SHARE * np.percentile(loud, 95) + 1e-6


def silences(loud: np.ndarray, fps: float) -> np.ndarray:
    """Mask of silent frames in sufficiently long silences."""
    quiet = silent(loud)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < SILENT_SECONDS * fps:
            quiet[first:last] = False
    return quiet


def _to_unit(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (np.ptp(values) + 1e-8)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))
