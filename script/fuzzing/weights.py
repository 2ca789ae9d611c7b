"""Weights in all formats, their training state, Caffe's models."""

import io
import struct
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data.micro.prior_points import read_points, write_points
from engine.checkpoints.load import load_networks
from engine.checkpoints.released import read_training_state
from engine.checkpoints.save import Checkpoints, continue_from
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from metrics.parts.weights import read_script
from models.family import Family, Layout
from script.convert_vgg_caffe import caffemodel
from script.fuzzing.damage import PICKLE_TOKENS, TEXT_TOKENS, in_zip
from script.fuzzing.oddities import in_json, in_torch
from script.fuzzing.target import Target, written
from util.caffemodel import read_caffemodel
from util.landmark_network import LandmarkNetwork, load_network
from util.weights_file import read_weights, refuse_unusable


class Small(Family):
    """The smallest family that trains and is saved in the originals' layout."""

    layout = Layout("{which}-checkpoint.pth.tar", {"generator": "generator", "critic": "discriminator"})

    def __init__(self, opt: Any = None, training: bool = True):
        super().__init__(opt, training)
        self.generator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.critic = nn.Linear(4, 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One network each."""
        return {name: torch.optim.Adam(getattr(self, name).parameters()) for name in ("generator", "critic")}


def trainer() -> Trainer:
    """An optimizer after one step."""
    torch.manual_seed(0)
    trainer_ = Trainer(Small(), Processes(torch.device("cpu")), Clock(20))
    for optimizer in trainer_.optimizers.values():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    trainer_.clock.step, trainer_.clock.samples = 1, 4
    return trainer_


@cache
def set_of_files() -> tuple[bytes, bytes]:
    """A saved set: the training state, and the weights."""
    with tempfile.TemporaryDirectory() as folder:
        Checkpoints(Path(folder), options={"batch_size": 4}).save(trainer())
        ends = ("_training.pth", "-checkpoint.pth.tar")
        return tuple(Path(folder, f"latest{end}").read_bytes() for end in ends)


CONTENT = {
    "weight": torch.arange(24.0).reshape(4, 6), "half": torch.ones(3, dtype=torch.bfloat16), "count": torch.tensor(3),
    "view": torch.arange(10.0)[2:8:2],
}  # fmt: skip
WITH_NUMBERS = {"net": CONTENT, "rate": np.float64(0.1), "losses": np.arange(3.0), "epoch": 3, "name": "é"}


def saved(*contents: Any, zipped: bool = True) -> Callable[[Path], list[bytes]]:
    """Writes files with torch.save."""

    def make(folder: Path) -> list[bytes]:
        return [_save(content, _use_new_zipfile_serialization=zipped) for content in contents]

    return make


def _save(content: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def _states(folder: Path) -> list[bytes]:
    return [set_of_files()[0]]


def _safetensors(folder: Path) -> list[bytes]:
    from safetensors.torch import save

    contiguous = {name: tensor.contiguous() for name, tensor in CONTENT.items()}
    return [save(contiguous), save({"weight": CONTENT["weight"]}, {"format": "pt"})]


class Described(nn.Module):
    """The smallest network in TorchScript."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Means of maps."""
        return self.layer(x).mean((2, 3))


def _scripts(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    return written(folder, "a.pt", lambda path: torch.jit.save(torch.jit.script(Described()), str(path)))


def _points(folder: Path) -> list[bytes]:
    return written(folder, "a.pt", lambda path: write_points(path, np.arange(36.0).reshape(18, 2)))


def _landmark_networks(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    return [_save({name: value.half() for name, value in LandmarkNetwork().state_dict().items()})]


def read_state(path: Path) -> Any:
    """Weights as networks load them."""
    content = read_weights(path)
    if isinstance(content, dict) and "net" not in content:
        refuse_unusable(content, path)
    return str(content)


def read_lazily(path: Path) -> Any:
    """A training state whose tensors stay in the file."""
    return str(read_training_state(path, lazily=True))


def read_checkpoint(path: Path) -> Any:
    """Load the networks of a file."""
    family = Small()
    load_networks(family, path)
    return dict(family.state_dict())


def read_training(path: Path) -> Any:
    """Resume a run whose training state is damaged."""
    path.with_name("latest-checkpoint.pth.tar").write_bytes(set_of_files()[1])
    resumed = trainer()
    Checkpoints(path.parent).resume(resumed)
    return [dict(resumed.family.state_dict()), str(resumed.optimizers["critic"].state_dict())]


def read_continued(path: Path) -> Any:
    """Resume from a file of the originals, which also holds the optimizers."""
    continued = trainer()
    continue_from(continued, path, batch_size=4)
    return dict(continued.family.state_dict())


def read_torchscript(path: Path) -> Any:
    """A TorchScript network; it is not run, since it may run any code."""
    return dict(read_script(path, torch.device("cpu")).state_dict())


def read_best(path: Path) -> Any:
    """The value of the best checkpoint."""
    return Checkpoints(path.parent).best_value()


def read_network(path: Path) -> Any:
    """The landmark network."""
    return dict(load_network(path).state_dict())


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([low])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _caffe(old: bool) -> bytes:
    """A .caffemodel with two layers, in the current format or that from before 2015."""
    out = _field(1, b"VGG")
    for name in (b"conv1", b"fc"):
        numbers = np.arange(12, dtype="<f4").tobytes()
        shape = b"".join(_varint(n << 3) + _varint(size) for n, size in enumerate((1, 1, 3, 4), 1))
        blob = (shape if old else _field(7, _field(1, bytes([3, 4])))) + _field(5, numbers)
        loose = b"".join(_varint(5 << 3 | 5) + struct.pack("<f", value) for value in range(3))
        blobs = [blob, (shape[:-1] + b"\1" if old else _field(7, _field(1, b"\3"))) + loose]
        layer = _field(4 if old else 1, name) + b"".join(_field(6 if old else 7, one) for one in blobs)
        out += _field(2 if old else 100, layer)
    return out


def _caffemodels(folder: Path) -> list[bytes]:
    return [_caffe(old=True), _caffe(old=False)]


def _caffe_archives(folder: Path) -> list[bytes]:
    contents = []
    for mode in ("w:gz", "w"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:
            for name, content in (("readme.txt", b"text"), ("a/VGG.caffemodel", _caffe(old=False))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        contents.append(out.getvalue())
    return contents


def read_caffe(path: Path) -> Any:
    """The arrays of a .caffemodel, extracted if it is in an archive."""
    with caffemodel(path) as unpacked:
        return read_caffemodel(unpacked, path)


def _target(name: str, file: str, make: Callable, read: Callable, **more: Any) -> Target:
    return Target(name, file, make, read, **{"tokens": PICKLE_TOKENS, **more})


ZIPPED = {"within": (in_zip, in_torch), "checked": True}
ORIGINAL = {
    "generator": Small().generator.state_dict(), "discriminator": Small().critic.state_dict(), "epoch": 3,
    "optimizer_generator": trainer().optimizers["generator"].state_dict(),
}  # fmt: skip
TARGETS = (
    _target("weights", "case.pth", saved(CONTENT, WITH_NUMBERS), read_state, **ZIPPED),
    _target("weights_lazy", "case.pth", _states, read_lazily, within=(in_zip, in_torch)),
    _target("weights_legacy", "case.pth", saved(CONTENT, WITH_NUMBERS, zipped=False), read_state, within=(in_torch,)),
    _target("safetensors", "case.safetensors", _safetensors, read_state),
    _target("checkpoint", "00000003-checkpoint.pth.tar", saved(ORIGINAL), read_checkpoint, **ZIPPED),
    _target("continued", "00000003-checkpoint.pth.tar", saved(ORIGINAL), read_continued, within=(in_zip, in_torch)),
    _target("training_state", "latest_training.pth", _states, read_training, within=(in_zip, in_torch),
            names_file=False),
    _target("landmark_network", "case.pth", _landmark_networks, read_network, **ZIPPED),
    _target("prior_points", "case.pt", _points, read_points, **ZIPPED),
    _target("torchscript", "case.pt", _scripts, read_torchscript, within=(in_zip,)),
    _target("best", "best.json", lambda folder: [b'{"step": 3, "value": 0.5}'], read_best,
            tokens=TEXT_TOKENS, within=(in_json,)),
    _target("caffemodel", "case.caffemodel", _caffemodels, read_caffe),
    _target("caffe_archive", "case.tar.gz", _caffe_archives, read_caffe),
)  # fmt: skip
