"""Weights files: named by an option, or found in one folder by published name and hash; never downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from util.errors import UserError
from util.reading import reading
from util.weights_options import FETCH_AGAIN

if TYPE_CHECKING:
    import torch

FOLDER = Path("weights")


@dataclass(frozen=True)
class Published:
    """A published weights file."""

    option: str
    file: str
    sha256: str
    """The first digits of its hash; empty if unknown."""
    where: str
    instead: str
    """The metrics that work without it."""


FILES = {
    "lpips_alex": Published(
        "lpips_trunk", "alexnet-owt-7be5be79.pth", "7be5be79", "https://download.pytorch.org/models/", "ms_ssim"
    ),
    "lpips_vgg": Published(
        "lpips_trunk", "vgg16-397923af.pth", "397923af", "https://download.pytorch.org/models/", "ms_ssim"
    ),
    "inception": Published(
        "inception", "weights-inception-2015-12-05-6726825d.pth", "6726825d",
        "the releases of https://github.com/toshas/torch-fidelity", "l1, ssim/gauss and id/dlib, frame by frame",
    ),
    "face_alignment": Published(
        "face_alignment", "2DFAN4-11f355bf06.pth.tar", "11f355bf06", "https://www.adrianbulat.com/downloads/python-fan/",
        "akd/dlib",
    ),
    "face_alignment_boxes": Published(
        "face_alignment_boxes", "s3fd-619a316812.pth", "619a316812",
        "https://www.adrianbulat.com/downloads/python-fan/", "akd/dlib",
    ),
    "openface": Published(
        "openface", "openface.pth", "", "the repository https://github.com/thnkim/OpenFacePytorch", "id/dlib"
    ),
    "arcface": Published(
        "arcface", "w600k_r50.onnx", "", "the model pack buffalo_l of insightface (non-commercial)", "id/dlib"
    ),
    **{f"theval_{part}": Published(
        f"theval_{part}", f"theval_{part}.pt", "",
        f"the package pyiqa ({network}, which you trace to TorchScript; parts of it are non-commercial)",
        "theval/lip_dynamics, theval/head_dynamics and theval/eyebrow_dynamics",
    ) for part, network in {"aesthetics": "topiq_iaa", "face": "topiq_nr-face", "mouth": "musiq"}.items()},
    "i3d": Published(
        "i3d", "i3d_torchscript.pt", "", "the repository https://github.com/universome/stylegan-v", "warp_error, jitter"
    ),
}  # fmt: skip
"""Key -> file. An option of the command names another file."""


def weight_options() -> dict[str, str]:
    """Option (without dashes) -> the files it names."""
    names: dict[str, list[str]] = {}
    for published in FILES.values():
        names.setdefault(published.option, []).append(published.file)
    return {option: " or ".join(files) for option, files in names.items()}


@dataclass
class Weights:
    """Paths of the weights of a measurement."""

    folder: Path = FOLDER
    given: Mapping[str, Path] = field(default_factory=dict)
    """Option (without dashes) -> file named by the user."""

    def path(self, key: str, metric: str) -> Path:
        """The file for a metric, by key; the error for a missing one says where to get it."""
        wanted = FILES[key]
        if wanted.option in self.given:
            path = Path(self.given[wanted.option])
            if not path.is_file():
                raise UserError(f"--{wanted.option} {path}: no such file; it expects {wanted.file}")
            return path
        path = self.folder / wanted.file
        if not path.is_file():
            raise UserError(
                f"{metric}: {path} is missing. Download {wanted.file} from {wanted.where} into {self.folder}/, or "
                f"set --{wanted.option}; without it, use {wanted.instead}"
            )
        if not sha256(path).startswith(wanted.sha256):
            raise UserError(
                f"{path}: not the published file (its hash begins with {sha256(path)[:8]}, not {wanted.sha256}); "
                f"download it again from {wanted.where}, or set --{wanted.option} to use it anyway"
            )
        return path


@cache
def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_script(path: Path, device: torch.device) -> torch.nn.Module:
    """Load a TorchScript network. It runs code from its file, so only files that the user named or placed are
    loaded."""
    import torch

    from util.weights_file import damaged_entry

    with reading(path, "cannot be read as TorchScript", FETCH_AGAIN):
        if damaged := damaged_entry(path):
            raise ValueError(f"{damaged} does not match its checksum")
        return torch.jit.load(str(path), map_location=device).eval()
