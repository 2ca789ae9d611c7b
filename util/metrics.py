"""How well videos were reconstructed, as the papers measure it; None stands where a detector found nothing."""

from collections.abc import Sequence

import numpy as np

Points = np.ndarray | None


def l1(generated: np.ndarray, real: np.ndarray) -> float:
    """Mean absolute difference of pictures in [0, 1]."""
    return float(np.abs(np.asarray(generated, np.float64) - np.asarray(real, np.float64)).mean())


def psnr(generated: np.ndarray, real: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pictures in [0, 1], in decibels; infinite where they are equal."""
    error = float(((np.asarray(generated, np.float64) - real) ** 2).mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(generated: np.ndarray, real: np.ndarray, window: int = 51) -> float:
    """Structural similarity of pictures (H, W, C) in [0, 1], in even windows."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(real, generated, win_size=window, data_range=1, channel_axis=-1))


def ssim_gaussian(generated: np.ndarray, real: np.ndarray, data_range: float) -> float:
    """Structural similarity of pictures (H, W, C) in Gaussian windows, as its authors define it."""
    from skimage.metrics import structural_similarity

    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(real, generated, data_range=data_range, channel_axis=-1, **settings))


def relative_difference(generated: np.ndarray, real: np.ndarray) -> float:
    """Sum of the absolute differences relative to the sum of both pictures."""
    generated, real = (np.asarray(picture, np.float64) for picture in (generated, real))
    return float(np.abs(generated - real).sum() / (generated + real).sum())


def average_keypoint_distance(generated: Sequence[Points], real: Sequence[Points]) -> float:
    """AKD of faces: mean |dx| and |dy| of the landmarks, per frame, over the frames where both were found."""
    return _mean(
        [np.abs(a - b).mean() for a, b in zip(generated, real, strict=True) if a is not None and b is not None]
    )


def body_keypoint_distance(generated: Sequence[np.ndarray], real: Sequence[np.ndarray]) -> tuple[float, float]:
    """AKD and MKR of bodies: distance of the joints found in both, share of the real joints that are missing.

    Joints are (J, 2) per frame; a negative coordinate means that the joint was not found.
    """
    distances, missing = [], []
    for ours, theirs in zip(generated, real, strict=True):
        there = (theirs >= 0).all(-1)
        both = there & (ours >= 0).all(-1)
        if both.any():
            distances.append(np.abs(ours[both] - theirs[both]).mean())
        if there.any():
            missing.append(1 - both.sum() / there.sum())
    return _mean(distances), _mean(missing)


def average_embedding_distance(generated: Sequence[Points], real: Sequence[Points], kind: str = "squared") -> float:
    """AED: difference of identity embeddings, per frame.

    `squared` sums the squared differences, which is what the published scripts do; `euclidean` is what the paper says.
    """
    pairs = [(a, b) for a, b in zip(generated, real, strict=True) if a is not None and b is not None]
    distances = [float(((a - b) ** 2).sum()) for a, b in pairs]
    return _mean(np.sqrt(distances) if kind == "euclidean" else distances)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
