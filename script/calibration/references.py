"""Metrics as computed by other programs: libraries, dlib's own interface, formulas of released scripts."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from util.errors import UserError

Compute = Callable[[np.ndarray, np.ndarray], float]
"""Results and truth, (N, H, W, 3) uint8 each, to the mean over the frames."""


@dataclass(frozen=True)
class Reference:
    """One metric, computed by another program."""

    metric: str
    by: str
    """Package, whose version is reported; or the script whose formula this is."""
    compute: Compute
    tolerance: float
    """Maximum difference, explained by the note; relative to the reference's value."""
    note: str = ""

    @property
    def program(self) -> str:
        """The package with its version, or the source of the formula."""
        try:
            return f"{self.by} {importlib.metadata.version(self.by)}"
        except importlib.metadata.PackageNotFoundError:
            return self.by

    @property
    def is_installed(self) -> bool:
        """Whether it can run here: a package name (without spaces) must be installed."""
        return " " in self.by or self.program != self.by


def references() -> list[Reference]:
    """All references."""
    searched = "ours follows the face, the reference searches every frame"
    return [
        Reference("l1", "numpy", lambda a, b: float(np.abs(unit(a) - unit(b)).mean()), 1e-5),
        Reference("psnr", "scikit-image", _psnr, 1e-5, "per frame, then the mean"),
        Reference("psnr", "torchmetrics", _psnr_torchmetrics, 1e-5, 'reduction="elementwise_mean", dim=(1, 2, 3)'),
        Reference("ssim/gauss", "scikit-image", _skimage(gaussian_weights=True, use_sample_covariance=False), 1e-5),
        Reference("ssim/gauss", "piq", _ssim_piq, 1e-4, "downsample=False; float32"),
        Reference("ssim/gauss", "torchmetrics", _ssim_torchmetrics, 2e-2, "pads the border, ours leaves it out"),
        Reference("ssim/win7", "scikit-image", _skimage(), 1e-5),
        Reference("ssim/gfla", "scikit-image", _skimage(win_size=51), 1e-5),
        Reference("ssim/mcnet", "scikit-image", _skimage(factor=2, data_range=2), 1e-5, "pictures in [-1, 1]"),
        Reference("ms_ssim", "piq", _ms_ssim_piq, 1e-4),
        Reference("ms_ssim", "torchmetrics", _ms_ssim_torchmetrics, 1e-2, "pads the border"),
        Reference("akd/dlib", "formula of cmp_kp.py (pose-evaluation), dlib's own interface", _akd, 0.1, searched),
        Reference("akd/euclidean", "numpy formula, dlib's own interface", _akd_euclidean, 0.1, searched),
        Reference("jitter", "numpy formula (second difference), dlib's own interface", _jitter, 0.5,
                  f"{searched}, whose boxes tremble"),
        Reference("id/dlib", "compute_face_descriptor of dlib-bin", _identity, 0.1, searched),
    ]  # fmt: skip


def unit(frames: np.ndarray) -> np.ndarray:
    """Convert bytes to [0, 1]."""
    return frames.astype(np.float64) / 255


def _tensors(*frames: np.ndarray) -> list[Any]:
    import torch

    return [torch.from_numpy(unit(one)).permute(0, 3, 1, 2).float() for one in frames]


def _skimage(factor: float = 1, data_range: float = 1, **settings: Any) -> Compute:
    """structural_similarity with these settings; `factor`: of pictures in [1 - factor, 1]."""

    def compute(generated: np.ndarray, real: np.ndarray) -> float:
        from skimage.metrics import structural_similarity

        pairs = zip(*(factor * unit(one) + 1 - factor for one in (generated, real)), strict=True)
        return float(np.mean([structural_similarity(a, b, data_range=data_range, channel_axis=-1, **settings)
                              for a, b in pairs]))  # fmt: skip

    return compute


def _psnr(generated: np.ndarray, real: np.ndarray) -> float:
    from skimage.metrics import peak_signal_noise_ratio

    pairs = zip(unit(real), unit(generated), strict=True)
    return float(np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]))


def _psnr_torchmetrics(generated: np.ndarray, real: np.ndarray) -> float:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(*_tensors(generated, real), data_range=1.0, reduction="elementwise_mean",
                                         dim=(1, 2, 3)))  # fmt: skip


def _ssim_piq(generated: np.ndarray, real: np.ndarray) -> float:
    import piq

    return float(piq.ssim(*_tensors(generated, real), data_range=1.0, downsample=False))


def _ssim_torchmetrics(generated: np.ndarray, real: np.ndarray) -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    return float(structural_similarity_index_measure(*_tensors(generated, real), data_range=1.0))


def _ms_ssim_piq(generated: np.ndarray, real: np.ndarray) -> float:
    import piq

    return float(piq.multi_scale_ssim(*_tensors(generated, real), data_range=1.0))


def _ms_ssim_torchmetrics(generated: np.ndarray, real: np.ndarray) -> float:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return float(multiscale_structural_similarity_index_measure(*_tensors(generated, real), data_range=1.0))


@cache
def _dlib_models() -> tuple[Any, Any, Any]:
    """dlib's own detector, predictor and recogniser, with the files that ours loads."""
    import dlib

    from metrics.parts.embeddings import dlib_recogniser_files
    from metrics.parts.landmarks import dlib_files

    points, recogniser = (next(iter(files().values())) for files in (dlib_files, dlib_recogniser_files))
    return (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(points)),
        dlib.face_recognition_model_v1(str(recogniser)),
    )


def _shapes(frames: np.ndarray) -> list[Any]:
    """dlib's landmarks of the largest face of each frame."""
    detect, predict, _ = _dlib_models()
    boxes = [max(detect(frame, 1), key=lambda box: box.area(), default=None) for frame in frames]
    if None in boxes:
        raise UserError(f"--video: dlib finds no face in frame {boxes.index(None)}; choose one that shows a clear face")
    return [predict(frame, box) for frame, box in zip(frames, boxes, strict=True)]


def _points(frames: np.ndarray) -> np.ndarray:
    """(N, 68, 2) in pixels of frames of 256 pixels' height."""
    found = np.array([[(part.x, part.y) for part in shape.parts()] for shape in _shapes(frames)], np.float64)
    return found * 256 / frames.shape[1]


def _akd(generated: np.ndarray, real: np.ndarray) -> float:
    return float(np.mean(np.abs(_points(generated) - _points(real))))


def _akd_euclidean(generated: np.ndarray, real: np.ndarray) -> float:
    return float(np.linalg.norm(_points(generated) - _points(real), axis=-1).mean())


def _jitter(generated: np.ndarray, real: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(_points(generated), n=2, axis=0), axis=-1).mean())


def _identity(generated: np.ndarray, real: np.ndarray) -> float:
    described = [
        np.array([_dlib_models()[2].compute_face_descriptor(frame, shape)
                  for frame, shape in zip(frames, _shapes(frames), strict=True)])
        for frames in (generated, real)
    ]  # fmt: skip
    return float(np.linalg.norm(described[0] - described[1], axis=-1).mean())


def lpips_references(folder: Path) -> list[Reference]:
    """LPIPS by its authors' package, with random trunks written into a folder, since theirs would be downloaded."""
    return [
        Reference(f"lpips/{net}", "lpips", lambda a, b, net=net: _lpips(net, folder, a, b), 1e-5,
                  "a random trunk in both, the published heads")
        for net in ("alex", "vgg")
    ]  # fmt: skip


def trunk_path(net: str, folder: Path) -> Path:
    """Path of the random trunk."""
    return folder / f"{net}.pth"


@cache
def _lpips_network(net: str, folder: Path) -> Any:
    import lpips
    import torch

    torch.manual_seed(0)
    network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    return network.eval()


def write_trunk(net: str, folder: Path) -> None:
    """Write the trunk of the authors' package in torchvision's layout."""
    import torch

    network = _lpips_network(net, folder).net
    slices = [getattr(network, f"slice{index}") for index in range(1, 6)]
    named = {f"features.{name}": value for part in slices for name, value in part.state_dict().items()}
    torch.save(named, trunk_path(net, folder))


def _lpips(net: str, folder: Path, generated: np.ndarray, real: np.ndarray) -> float:
    import torch

    with torch.no_grad():
        return float(_lpips_network(net, folder)(*_tensors(generated, real), normalize=True).mean())
