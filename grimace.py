"""Grimace from Python.

    import grimace

    model = grimace.load("result/demo")                          # a run, or a file of weights with its config=
    model.animate("me.jpg", "talk.mp4", "out.mp4", crop_image=True, paste_back=True)
    for frame in model.animate("me.jpg", "talk.mp4"): ...        # lazily, (H, W, 3) uint8
    model.reconstruct("clip.mp4").metrics                        # {"l1": ..., "ssim/gauss": ...}
    grimace.train(model="fomm", dataset=mine, steps=1000, name="first_try")

Keywords are the options of test.py and train.py. What a user can put right raises util.errors.UserError.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
if not (ROOT / "models").is_dir():
    raise ImportError("grimace runs from its checkout: install it from there with pip install -e .")
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # its packages are not installed: data, models and util are names of others, too

from util.waiting import wait_briefly

wait_briefly()

import numpy as np
import torch

from building import build_animator, load_family
from data.base import Clip, Dataset
from data.jobs.outputs import Outputs
from data.jobs.pair_list import Request
from data.jobs.pairs import Requested
from data.video.limits import limit_pixels
from engine.animator import to_bytes
from engine.distributed import Processes
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.rendered import ClipSums
from options import Options, build_dataset, parse, run_folder
from options.pairs import pair_settings
from options.resolve import OWN_WEIGHTS
from util.errors import UserError

__all__ = ["Encoded", "Model", "Reconstructed", "UserError", "load", "train"]

log = logging.getLogger(__name__)
Picture = str | Path | np.ndarray
"""A path, or (H, W, 3) uint8 in RGB."""


def load(
    weights: str | Path | None = None, *, config: str | Path | None = None, device: str | torch.device | None = None,
    **options: Any,
) -> "Model":  # fmt: skip
    """A model ready to animate: of a run's folder, of a file of weights with its `config`, or the one that ships.

    `device`: the first GPU where there is one, else the CPU. Options are those of test.py, e.g. `which="best"`.
    """
    given = {"crop_image": True, "crop_video": True} if weights is None else {}
    words = _words({"checkpoint": weights or OWN_WEIGHTS, "config": config} | given | options)
    return Model(words, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


def train(
    *, model: str | None = None, dataset: Any = None, device: str | torch.device | None = None, **options: Any
) -> "Model":
    """Train on one device, as train.py does, and load what was learned.

    `dataset`: an object with `__len__` and `__getitem__`, whose samples are dictionaries of tensors as the family reads
    them; else --dataset_mode and --dataroot say it. Options are those of train.py, e.g. `steps=1000`, `name="mine"`.
    """
    from train import train as run

    opt = _resolved(_words({"model": model, "visdom": False, "tensorboard": False} | options), training=True)
    if dataset is not None and not isinstance(dataset, Dataset):
        dataset = _Given(dataset)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    run(opt, Processes(device), dataset=dataset)
    return load(run_folder(opt), device=device)


@dataclass
class Encoded:
    """A source that several videos drive, or frames as they come (`Model.step`): it is encoded once."""

    item: dict[str, Any]
    state: dict[str, Any]
    options: Options
    finish: Any = None
    moment: dict[str, Any] | None = None
    """The state after the last `step`; None: the next frame is the first one."""

    def restart(self) -> None:
        """The next frame of `step` is the first one of a video."""
        self.moment = None


@dataclass(frozen=True)
class Reconstructed:
    """What came of a clip that drove its own first frame."""

    frames: int
    metrics: dict[str, float]
    output: Path | None = None


class Model:
    """A family with its weights, in evaluation mode, on its device."""

    def __init__(self, words: Sequence[str], device: torch.device):
        """`words`: the command line of test.py that loads it."""
        self._words, self.device = list(words), device
        self.options = _resolved(self._words, training=False)
        limit_pixels(self.options.max_pixels)
        self.family, loaded = load_family(self.options)
        self.path = loaded.path
        self._animator = build_animator(self.options, self.family, Processes(device))
        self._reconstructing: Model | None = None

    def animate(
        self, source: "Picture | Encoded | Sequence[Picture]", driving: str | Path | Iterable[np.ndarray],
        output: str | Path | None = None, *, fps: float = 25, **options: Any,
    ) -> Iterator[np.ndarray] | Path:  # fmt: skip
        """The source moved as the driving video: frames (H, W, 3) uint8, lazily, or the path of `output`, written.

        `driving` is a path, or frames (H, W, 3) uint8 from a list, an array or a generator, of which none is held; of
        those `fps` says the rate. Options are those of test.py, e.g. `crop_image=True, paste_back=True`.
        """
        opt, clip, state = self._clip(source, driving, fps, options)
        if output is None:
            return self._frames(clip, state)
        self._write(opt, clip, state, Path(output))
        return Path(output)

    def encode(self, source: Picture | Sequence[Picture], **options: Any) -> Encoded:
        """A source for many drivings; `options` hold for all of them."""
        opt = self._with(options)
        item, finish = Requested(self._dataset(opt), pair_settings(opt)).source(_pictures(source))
        return Encoded(item, self._animator.encode(item), opt, finish)

    def step(self, source: Encoded, frame: np.ndarray) -> np.ndarray | None:
        """What one more driving frame (H, W, 3) uint8 makes, for live use; None where later ones are needed first."""
        clip = Requested(self._dataset(source.options), pair_settings(source.options)).driven(
            source.item, [frame], source.finish, Fraction(25)
        )
        (item,) = clip.driving
        made, source.moment = self._animator.advance(source.moment or source.state, item)
        frames = [_finished(clip, picture) for picture in to_bytes(made, clip.cut_off).cpu().numpy()]
        return frames[0] if frames else None

    def reconstruct(
        self, clip: str | Path, output: str | Path | None = None, *, metrics: Sequence[str] = ("l1", "ssim/gauss"),
        **options: Any,
    ) -> Reconstructed:  # fmt: skip
        """Let a video drive its own first frame, and measure the result against it."""
        if self.options.mode != "reconstruction":
            self._reconstructing = self._reconstructing or Model([*self._words, "--mode=reconstruction"], self.device)
            return self._reconstructing.reconstruct(clip, output, metrics=metrics, **options)
        path = _path(clip)
        opt, made, state = self._clip(path, path, 25, options)
        measured = ClipSums(Measurement(list(metrics), ("truth", "source"), controls=False), path.stem, made)
        self._write(opt, made, state, Path(output) if output else None, measured)
        sums = measured.sums()
        frames = max((count for _, count in sums.values()), default=0)
        means = {name: total / count for name, (total, count) in sums.items() if count}
        return Reconstructed(frames, means, Path(output) if output else None)

    def _with(self, options: Mapping[str, Any]) -> Options:
        return _resolved([*self._words, *_words(options)], training=False) if options else self.options

    def _dataset(self, opt: Options) -> Dataset:
        return build_dataset(opt, training=False)

    def _clip(
        self, source: Any, driving: Any, fps: float, options: Mapping[str, Any]
    ) -> tuple[Options, Clip, dict[str, Any] | None]:
        """The clip of a source and a driving video by the options of this call, and the state of an encoded source."""
        driving = _path(driving) if isinstance(driving, (str, Path)) else driving
        if isinstance(source, Encoded):
            if options:
                raise UserError(f"{', '.join(options)}: options of an encoded source are those of encode()")
            wanted = Requested(self._dataset(source.options), pair_settings(source.options))
            return source.options, wanted.driven(source.item, driving, source.finish, _rate(fps)), source.state
        opt = self._with(options)
        wanted = Requested(self._dataset(opt), pair_settings(opt))
        if isinstance(driving, Path):
            request = Request(_pictures(source), driving, best_frame=opt.best_frame, name=driving.stem)
            return opt, wanted.clip(request), None
        item, finish = wanted.source(_pictures(source))
        return opt, wanted.driven(item, driving, finish, _rate(fps)), None

    def _frames(self, clip: Clip, state: dict[str, Any] | None) -> Iterator[np.ndarray]:
        for _, made in self._animator.batches(clip.source, clip.driving, clip.first, state):
            for picture in to_bytes(made, clip.cut_off).cpu().numpy():
                if (frame := _finished(clip, picture)) is not None:
                    yield frame

    def _write(
        self, opt: Options, clip: Clip, state: dict[str, Any] | None, output: Path | None, measured: Any = None
    ) -> None:
        """Make all frames; write them where an output is named, measure them where something measures."""
        writer = None
        if output:
            output.parent.mkdir(parents=True, exist_ok=True)
            writer = Outputs(
                clip, output, self._dataset(opt), quality=opt.quality, as_folder=opt.format == "png",
                compare=opt.compare, strip=False,
            )  # fmt: skip
        with writer or _Nowhere() as opened:
            for items, made in self._animator.batches(clip.source, clip.driving, clip.first, state):
                if measured:
                    measured.add(made, items)
                opened.write(items, to_bytes(made, clip.cut_off).cpu().numpy())


class _Nowhere:
    """Stands in for a writer where nothing is written."""

    def __enter__(self) -> "_Nowhere":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def write(self, items: Sequence[Any], made: np.ndarray) -> None:
        pass


class _Given(Dataset):
    """An object of a caller as a dataset of ours."""

    def __init__(self, samples: Any):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.samples[index]

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return getattr(self.samples, "collate", super().collate)(samples)

    def weights(self) -> Sequence[float] | None:
        return self.samples.weights() if hasattr(self.samples, "weights") else None

    def sample_name(self, index: int) -> str:
        return f"sample {index}"


def _words(options: Mapping[str, Any]) -> list[str]:
    """Keywords as a command line; None says nothing."""

    def shown(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Mapping):
            return ",".join(f"{key}={shown(item)}" for key, item in value.items())
        return ",".join(map(shown, value)) if isinstance(value, (list, tuple)) else str(value)

    return [f"--{name}={shown(value)}" for name, value in options.items() if value is not None]


def _resolved(words: list[str], training: bool) -> Options:
    opt = parse(words, training=training)
    if opt is None:
        raise UserError("help, version and print_config are for commands; here, look at the options of a model")
    return opt


def _path(value: str | Path) -> Path:
    return Path(value).expanduser()


def _pictures(source: Any) -> tuple[Path | np.ndarray, ...]:
    """One picture or several, as paths and arrays."""
    several = source if isinstance(source, (list, tuple)) else [source]
    return tuple(one if isinstance(one, np.ndarray) else _path(one) for one in several)


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


def _finished(clip: Clip, picture: np.ndarray) -> np.ndarray | None:
    return clip.finish(picture) if clip.finish else picture
