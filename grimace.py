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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
if not (ROOT / "models").is_dir():
    raise ImportError("grimace runs from its checkout: install it there with pip install -e .")
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # data, models and util are not installed as packages, whose names others may use

from util.waiting import wait_briefly

wait_briefly()

import numpy as np
import torch

from building import build_animator, load_family
from data.base import Clip, Dataset, Preview
from data.jobs.outputs import Outputs
from data.jobs.pair_list import Request
from data.jobs.pairs import RequestedClips
from data.video.limits import limit_pixels
from engine.animator import to_bytes
from engine.distributed import Processes
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.rendered import ClipSums
from options import Options, build_dataset, parse, run_folder
from options.pairs import pair_settings
from options.parser import spelled
from options.resolve import OWN_WEIGHTS, family_options
from util.errors import UserError

SETTLED = (
    "model", "name", "config", "checkpoint", "which", "averaged", "precision", "compile", "channels_last",
    "animate_batch", "visualize", "strips",
)  # fmt: skip
"""Options that loading decides, or that only the commands have."""

__all__ = ["Encoded", "Model", "Reconstructed", "UserError", "load", "train"]

log = logging.getLogger(__name__)
Picture = str | Path | np.ndarray
"""A path, or (H, W, 3) uint8 in RGB."""
Watch = Callable[[int, int | None], None]
"""Called with the number of finished frames and, if known, their total."""


def load(
    weights: str | Path | None = None, *, config: str | Path | None = None, device: str | torch.device | None = None,
    **options: Any,
) -> "Model":  # fmt: skip
    """Load a model: a run's folder, a weights file with its `config`, or the one that ships.

    `device`: by default the first GPU, or else the CPU. Options are those of test.py, e.g. `which="best"`.
    """
    given = {"crop_image": True, "crop_video": True} if weights is None else {}
    arguments = _arguments({"checkpoint": weights or OWN_WEIGHTS, "config": config} | given | options)
    return Model(arguments, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


def train(
    *, model: str | None = None, dataset: Any = None, device: str | torch.device | None = None, **options: Any
) -> "Model":
    """Train on one device, as train.py does, and load the result.

    `dataset`: an object with `__len__` and `__getitem__` whose samples are the family's dictionaries of tensors; by
    default --dataset_mode and --dataroot. Options are those of train.py, e.g. `steps=1000`, `name="mine"`.
    """
    from train import train as run

    opt = _resolved(_arguments({"model": model, "visdom": False, "tensorboard": False} | options), training=True)
    if dataset is not None and not isinstance(dataset, Dataset):
        dataset = _SampleList(dataset)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    run(opt, Processes(device), dataset=dataset)
    return load(run_folder(opt), device=device)


@dataclass
class Encoded:
    """An encoded source for several videos, or for single frames (`Model.step`)."""

    model: Any
    item: dict[str, Any]
    state: dict[str, Any]
    options: Options
    finish: Any = None
    next_state: dict[str, Any] | None = None
    """The state after the last `step`; None: the next frame is the first one."""

    def restart(self) -> None:
        """Start a new video: the next frame of `step` is its first one."""
        self.next_state = None


@dataclass(frozen=True)
class Reconstructed:
    """The results of reconstructing a clip."""

    frames: int
    metrics: dict[str, float]
    output: Path | None = None


class Model:
    """A family with its weights, in evaluation mode, on its device."""

    def __init__(self, arguments: Sequence[str], device: torch.device):
        """`arguments`: the command line of test.py that loads it."""
        self._arguments, self.device = list(arguments), device
        self.options = _resolved(self._arguments, training=False)
        limit_pixels(self.options.max_pixels)
        self.family, loaded = load_family(self.options)
        self.path = loaded.path
        self._animator = build_animator(self.options, self.family, Processes(device))
        self._reconstructing: Model | None = None
        self._sibling: tuple[dict[str, Any], Model] | None = None

    def animate(
        self, source: "Picture | Encoded | Sequence[Picture]", driving: str | Path | Iterable[np.ndarray],
        output: str | Path | None = None, *, fps: float = 25, comparison: str | Path | None = None,
        watch: Watch | None = None, **options: Any,
    ) -> Iterator[np.ndarray] | Path:  # fmt: skip
        """Animate the source with the driving video: yields frames (H, W, 3) uint8 lazily, or writes `output` and
        returns its path.

        `driving` is a path, or frames (H, W, 3) uint8 from a list, array or generator, which are streamed; `fps` is
        their rate. Options are those of test.py, e.g. `crop_image=True, paste_back=True`. `comparison` is the path of a
        second video, source | driving | result. `watch(done, of)` is called with the number of frames; an error raised
        by it aborts the work, and no file remains.
        """
        if isinstance(source, Encoded):
            model, opt = source.model, source.options
        else:
            model, opt = self._model_for(options)
        clip, state = model._clip(opt, source, driving, fps, options)
        if output is None:
            return model._frames(clip, state)
        model._write(opt, clip, state, Path(output), comparison=comparison and Path(comparison), watch=watch)
        return Path(output)

    def preview(
        self, source: Picture | None = None, driving: str | Path | None = None, **options: Any
    ) -> tuple[Preview | None, Preview | None]:
        """The networks' input pictures of source and first driving frame, as a preview."""
        opt = self._options_with(options)
        request = Request(
            _pictures(source) if source is not None else (), _path(driving) if driving is not None else None
        )
        return RequestedClips(self._dataset(opt), pair_settings(opt)).previews(request)

    def encode(self, source: Picture | Sequence[Picture], **options: Any) -> Encoded:
        """Encode a source for several driving videos; `options` apply to all of them."""
        model, opt = self._model_for(options)
        item, finish = RequestedClips(self._dataset(opt), pair_settings(opt)).source(_pictures(source))
        return Encoded(model, item, model._animator.encode(item), opt, finish)

    def step(self, source: Encoded, frame: np.ndarray) -> np.ndarray | None:
        """The frame for one more driving frame (H, W, 3) uint8, for live use; None while later ones are needed."""
        clip = RequestedClips(self._dataset(source.options), pair_settings(source.options)).driven(
            source.item, [frame], source.finish, Fraction(25)
        )
        frames: list[np.ndarray | None] = []
        for item in clip.driving:  # one for each face of the source
            made, source.next_state = source.model._animator.advance(source.next_state or source.state, item)
            frames += [_finished(clip, picture) for picture in to_bytes(made, clip.cut_off).cpu().numpy()]
        return next((frame for frame in frames if frame is not None), None)

    def make(self, folder: str | Path, *, watch: Watch | None = None, **options: Any) -> Path:
        """The first result without a driving video, written into a folder: an expression of `input_path` (families of
        action units), or an edit of `source_image` (live_portrait)."""
        model, opt = self._model_for(options)
        job = next(iter(model._dataset(opt).jobs()))
        clip = job.make()
        path = Path(folder) / (clip.output or job.output or Path(job.name)).name
        model._write(opt, clip, None, path, watch=watch)
        return path

    def express(self, source: Encoded, units: Mapping[str, float] | Sequence[float]) -> np.ndarray:
        """A picture with other action units (0 to 5), for families driven by them.

        `units`: all in the model's order, or some by name, {"AU12": 3}; the others are 0.
        """
        dataset = self._dataset(source.options)
        if not hasattr(dataset, "unit_items"):
            raise UserError(f"{self.options.model} is not driven by action units")
        frame = None
        for item in dataset.unit_items(units, len(source.item["image"])):
            made, _ = source.model._animator.advance(source.state, item)
            (frame,) = to_bytes(made).cpu().numpy()
            frame = source.finish(frame) if source.finish else frame
        return frame

    def reconstruct(
        self, clip: str | Path, output: str | Path | None = None, *, metrics: Sequence[str] = ("l1", "ssim/gauss"),
        **options: Any,
    ) -> Reconstructed:  # fmt: skip
        """Reconstruct a video from its first frame, and measure the result."""
        if self.options.mode != "reconstruction":
            self._reconstructing = self._reconstructing or Model(
                [*self._arguments, "--mode=reconstruction"], self.device
            )
            return self._reconstructing.reconstruct(clip, output, metrics=metrics, **options)
        path = _path(clip)
        model, opt = self._model_for(options)
        made, state = model._clip(opt, path, path, 25, options)
        measured = ClipSums(Measurement(list(metrics), ("truth", "source"), controls=False), path.stem, made)
        model._write(opt, made, state, Path(output) if output else None, measured)
        sums = measured.sums()
        frames = max((count for _, count in sums.values()), default=0)
        means = {name: total / count for name, (total, count) in sums.items() if count}
        return Reconstructed(frames, means, Path(output) if output else None)

    def _options_with(self, options: Mapping[str, Any]) -> Options:
        """The options with those of one call, except options fixed at loading."""
        if not options:
            return self.options
        opt = _resolved([*self._arguments, *_arguments(options)], training=False)
        settled = [name for name in SETTLED if getattr(opt, name) != getattr(self.options, name)]
        if settled:
            raise UserError(f"{', '.join(settled)}: set it in grimace.load(); options of a command only work there")
        return opt

    def _model_for(self, options: Mapping[str, Any]) -> tuple["Model", Options]:
        """The model for the options of one call: this one, or one with the same weights and another family object."""
        opt = self._options_with(options)
        read = {"mode": opt.mode, **family_options(opt)}  # when a family is built
        changed = {name: value for name, value in read.items() if value != getattr(self.options, name)}
        if not changed:
            return self, opt
        if self._sibling is None or self._sibling[0] != changed:
            self._sibling = changed, Model([*self._arguments, *_arguments(options)], self.device)
        return self._sibling[1], opt

    def _dataset(self, opt: Options) -> Dataset:
        return build_dataset(opt, training=False)

    def _clip(
        self, opt: Options, source: Any, driving: Any, fps: float, options: Mapping[str, Any]
    ) -> tuple[Clip, dict[str, Any] | None]:
        """The clip of a source and a driving video, and the state of an encoded source."""
        driving = _path(driving) if isinstance(driving, (str, Path)) else driving
        wanted = RequestedClips(self._dataset(opt), pair_settings(opt))
        if isinstance(source, Encoded):
            if options:
                raise UserError(f"{', '.join(options)}: set these options of an encoded source in encode()")
            return wanted.driven(source.item, driving, source.finish, _rate(fps)), source.state
        if isinstance(driving, Path):
            request = Request(_pictures(source), driving, best_frame=opt.best_frame, name=driving.stem)
            return wanted.clip(request), None
        item, finish = wanted.source(_pictures(source))
        return wanted.driven(item, driving, finish, _rate(fps)), None

    def _frames(self, clip: Clip, state: dict[str, Any] | None) -> Iterator[np.ndarray]:
        for _, made in self._animator.batches(clip.source, clip.driving, clip.first, state):
            for picture in to_bytes(made, clip.cut_off).cpu().numpy():
                if (frame := _finished(clip, picture)) is not None:
                    yield frame
        self._animator.save_motion(clip)

    def _write(
        self, opt: Options, clip: Clip, state: dict[str, Any] | None, output: Path | None, measured: Any = None,
        comparison: Path | None = None, watch: Watch | None = None,
    ) -> None:  # fmt: skip
        """Make all frames; write them to a given output, measure them with given measurements."""
        writer = None
        if output:
            output.parent.mkdir(parents=True, exist_ok=True)
            writer = Outputs(
                clip, output, self._dataset(opt), quality=opt.quality, as_folder=opt.format == "png",
                compare=opt.compare, strip=False, comparison=comparison,
            )  # fmt: skip
        done = 0
        with writer or _NullOutputs() as opened:
            for items, made in self._animator.batches(clip.source, clip.driving, clip.first, state):
                if measured:
                    measured.add(made, items)
                opened.write(items, to_bytes(made, clip.cut_off).cpu().numpy())
                done += len(items)
                if watch:
                    watch(done, clip.length)
        self._animator.save_motion(clip)


class _NullOutputs:
    """Replaces a writer if nothing is written."""

    def __enter__(self) -> "_NullOutputs":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def write(self, items: Sequence[Any], made: np.ndarray) -> None:
        pass


class _SampleList(Dataset):
    """A caller's object as a dataset."""

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


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as a command line; None leaves an option out."""
    return [f"--{name}={spelled(value)}" for name, value in options.items() if value is not None]


def _resolved(arguments: list[str], training: bool) -> Options:
    opt = parse(arguments, training=training)
    if opt is None:
        raise UserError("help, version and print_config only work in commands; see Model.options instead")
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
