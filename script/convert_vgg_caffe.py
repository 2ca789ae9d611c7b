"""Convert Caffe's VGG-19 and VGGFace, the feature networks of talking heads' losses, to PyTorch.

Every name and shape is checked, and the result is compared with a forward pass in numpy on Caffe's own arrays.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.parts.vgg_layers import CAFFE_MEANS, CAFFE_WIDTHS
from util.caffemodel import read_caffemodel
from util.errors import UserError, run_main
from util.files import replacing
from util.reading import reading

if TYPE_CHECKING:
    from torch import Tensor

EPILOG = """examples:
  python script/convert_vgg_caffe.py VGG_ILSVRC_19_layers.caffemodel      # writes dataset/vgg19_caffe.pth
  python script/convert_vgg_caffe.py vgg_face_caffe.tar.gz                # writes dataset/vggface_caffe.pth

where the files are:
  http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_19_layers.caffemodel   (575 MB)
  https://www.robots.ox.ac.uk/~vgg/software/vgg_face/src/vgg_face_caffe.tar.gz               (540 MB)"""
CLASSES = {"vgg19": 1000, "vggface": 2622}
FEATURES, HIDDEN = 512 * 7 * 7, 4096
LARGEST = 2**30
"""Maximum size of a .caffemodel in an archive."""
LINEAR = {"fc6": 0, "fc7": 3, "fc8": 6}
TOLERANCE = 1e-4
Arrays = dict[str, list[np.ndarray]]


def main() -> int:
    args = read_arguments()
    import torch  # after the arguments: --help does not need it

    with caffemodel(args.file) as path:
        arrays = read_caffemodel(path, args.file)
    kind = args.kind or recognise(arrays, args.file)
    state = convert(kind, arrays, args.file)
    output = args.output or Path("dataset") / f"{kind}_caffe.pth"
    kept = state if args.with_linear else {key: value for key, value in state.items() if key.startswith("conv")}
    with replacing(output) as temporary:
        torch.save(kept, temporary)
        difference = check(kind, arrays, state, temporary)
    print(f"{output}: {kind}, {len(kept)} entries; conv5_1 and fc8 differ from numpy by {difference:.1g} (relative)")
    return 0


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("file", type=Path, help=".caffemodel, or a .tar.gz that holds one")
    parser.add_argument("--kind", choices=list(CAFFE_WIDTHS), help="which network (default: by its layers)")
    parser.add_argument("--output", type=Path, help="file to write (default: dataset/KIND_caffe.pth)")
    parser.add_argument("--with_linear", action="store_true", help="keep fc6 to fc8, which no loss needs (500 MB)")
    return parser.parse_args()


@contextmanager
def caffemodel(path: Path) -> Iterator[Path]:
    """The .caffemodel itself, extracted if it is in an archive."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; see --help for where to get it")
    with tempfile.NamedTemporaryFile(suffix=".caffemodel") as unpacked:
        with reading(path, "the archive is damaged", "download it again", also=(tarfile.TarError,)):
            is_archive = tarfile.is_tarfile(path)
            if is_archive:
                _unpack(path, unpacked)
        yield Path(unpacked.name) if is_archive else path


def _unpack(path: Path, target: IO[bytes]) -> None:
    with tarfile.open(path) as archive:
        member = next((one for one in archive if one.isfile() and one.name.endswith(".caffemodel")), None)
        if member is None:
            raise UserError(f"{path}: no .caffemodel in this archive")
        if member.size > LARGEST:
            raise UserError(f"{path}: {member.name} claims {member.size:,} bytes; VGG has at most 600 million")
        source = archive.extractfile(member)
        while block := source.read(1 << 24):
            target.write(block)
        target.flush()


def convolutions(kind: str) -> dict[str, int]:
    """Caffe's names of the convolutions, conv1_1 and so on, and their indices among convolutions, ReLUs and pools."""
    names, block, index, number = {}, 1, 1, 0
    for width in CAFFE_WIDTHS[kind]:
        if width == "pool":
            block, index, number = block + 1, 1, number + 1
        else:
            names[f"conv{block}_{index}"] = number
            index, number = index + 1, number + 2
    return names


def recognise(arrays: Arrays, path: Path) -> str:
    """The network, recognised by the names of its convolutions."""
    found = {name for name in arrays if name.startswith("conv")}
    for kind in CAFFE_WIDTHS:
        if found == set(convolutions(kind)):
            return kind
    raise UserError(f"{path}: neither VGG-19 nor VGGFace; its layers are {', '.join(arrays)}")


def convert(kind: str, arrays: Arrays, path: Path) -> dict[str, Tensor]:
    """The state dict of a network; checks every name, shape and value."""
    import torch

    shapes = expected_shapes(kind)
    missing, unknown = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
    if missing or unknown:
        raise UserError(f"{path}: not {kind}: missing layers {missing}, unknown layers {unknown}")
    entries = {name: f"conv_layers.{number}" for name, number in convolutions(kind).items()}
    entries |= {name: f"linear_layers.{number}" for name, number in LINEAR.items()}
    state = {}
    for name, entry in entries.items():
        found = [array.shape for array in arrays[name]]
        if found != [shapes[name], shapes[name][:1]]:
            raise UserError(f"{path}: not {kind}: {name} has the shapes {found}, expected {shapes[name]} and its bias")
        for part, array in zip(("weight", "bias"), arrays[name], strict=True):
            if not np.isfinite(array).all() or (part == "weight" and array.min() == array.max()):
                raise UserError(f"{path}: the {part} of {name} is not finite, or constant; download it again")
            state[f"{entry}.{part}"] = torch.from_numpy(array)
    return state


def expected_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """The shape of each layer's weight."""
    widths = [width for width in CAFFE_WIDTHS[kind] if width != "pool"]
    shapes = {
        name: (width, before, 3, 3)
        for name, width, before in zip(convolutions(kind), widths, [3, *widths[:-1]], strict=True)
    }
    return shapes | {"fc6": (HIDDEN, FEATURES), "fc7": (HIDDEN, HIDDEN), "fc8": (CLASSES[kind], HIDDEN)}


def forward(kind: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The scores of the whole network, before softmax, for a picture in Caffe's form: BGR minus the mean."""
    import torch.nn.functional as F

    number = 0
    for width in CAFFE_WIDTHS[kind]:
        if width == "pool":
            x, number = F.max_pool2d(x, 2), number + 1
        else:
            entry = f"conv_layers.{number}"
            x, number = F.relu(F.conv2d(x, state[f"{entry}.weight"], state[f"{entry}.bias"], padding=1)), number + 2
    return linear_part(state, x.flatten(1))


def linear_part(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """fc6 to fc8."""
    import torch.nn.functional as F

    for number in LINEAR.values():
        x = F.linear(x, state[f"linear_layers.{number}.weight"], state[f"linear_layers.{number}.bias"])
        x = x if number == max(LINEAR.values()) else F.relu(x)
    return x


def check(kind: str, arrays: Arrays, state: dict[str, Tensor], written: Path) -> float:
    """The relative difference between the written file and Caffe's arrays in numpy; an error if it is large."""
    import torch

    from models.parts.vgg import caffe_vgg

    numbers = np.random.default_rng(0)
    picture = numbers.random((3, 32, 32), np.float32)
    caffe_input = 255 * picture[::-1] - np.float32(CAFFE_MEANS[kind])[:, None, None]
    features = numbers.random(FEATURES, np.float32)
    taps = [convolutions(kind)["conv5_1"]]
    with torch.no_grad():
        pairs = (
            (caffe_vgg(kind, str(written), taps)(torch.from_numpy(picture)[None])[0][0], conv5_1(arrays, caffe_input)),
            (linear_part(state, torch.from_numpy(features)[None])[0], fc8(arrays, features)),
        )
    difference = max(float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)
    if not difference < TOLERANCE:
        raise UserError(f"the converted network differs from Caffe's arrays by {difference:.3g}; wrote nothing")
    return difference


def conv5_1(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """conv5_1 before its ReLU, in numpy: Caffe's layers in order of their names, with pools between blocks."""
    block = "1"
    for name in sorted(name for name in arrays if name.startswith("conv") and name <= "conv5_1"):
        if name[4] != block:
            block, (channels, height, width) = name[4], x.shape
            x = x.reshape(channels, height // 2, 2, width // 2, 2).max((2, 4))
        weight, bias = arrays[name]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
        x = np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None]
        x = x if name == "conv5_1" else np.maximum(x, 0)
    return x


def fc8(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """The linear layers in numpy."""
    for name in LINEAR:
        weight, bias = arrays[name]
        x = weight @ x + bias
        x = x if name == "fc8" else np.maximum(x, 0)
    return x


if __name__ == "__main__":
    run_main(main)
