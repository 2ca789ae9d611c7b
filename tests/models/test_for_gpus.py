"""What a GPU would meet, tried without one.

Training steps and animation run on a CUDA device of tensors that have shapes and a device, but no content. What makes
a tensor on another device, or waits for the device (`.item()`, `nonzero`, a mask as an index, `if tensor:`), is an
error there, in seconds and on any machine. The backward pass and the optimizers' updates are PyTorch's own and left
out. Explanations, metrics and validation read results back on purpose: those transfers are counted, all others are
errors. Networks are compiled as --compile does.
"""

import itertools
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_families import PERSONAL, options
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils.data import default_collate

from data import find_dataset
from data.loading.sampler import EndlessSampler, SeededSamples
from engine import trainer
from engine.clock import Clock
from engine.distributed import Processes
from engine.validation import Validation
from metrics import find_metrics
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.rendered import ClipSums
from metrics.metric import Batch
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from models import family_names, find_family
from models.family import Family
from models.parts.cpu_convolutions import quick_forms_work


def trained_family(name, sample):
    """A family with all its networks, and a batch of its samples."""
    opt = options(name, sample, training=True)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    family = find_family(name).for_training(opt)
    family.milestone("loaded", dataset)
    samples = SeededSamples(dataset, 0)
    batch = default_collate([samples[key][0] for key in next(iter(EndlessSampler(len(dataset), 2)))])
    batch = trainer.move(batch, torch.device("cpu"), channels_last=False)
    for table in family.row_tables().values():  # the engine brings the rows of the batch
        batch[table.key] = torch.arange(2)
    return family, batch


def fake(value):
    """The same on a CUDA device, without content."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
    if isinstance(value, dict):
        return {key: fake(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(fake(item) for item in value)
    return value


def move(family):
    """All parameters and buffers of a family to a CUDA device, without content."""
    for module in family.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(fake(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = fake(buffer)


@contextmanager
def cuda(real_inputs=False):
    """Where tensors have no content, and cuda is a device. `real_inputs`: tensors made outside count as on the CPU."""
    # cuDNN is asked for its version by some layers, and is not there.
    with FakeTensorMode(allow_non_fake_inputs=real_inputs), torch.backends.cudnn.flags(enabled=False):
        yield


@pytest.mark.parametrize("name", family_names())
@pytest.mark.slow
def test_a_training_step(name, sample, monkeypatch):
    family, batch = trained_family(name, sample)
    monkeypatch.setattr(torch.autograd, "grad", lambda result, inputs, **_: (torch.zeros_like(inputs),))
    with cuda():
        move(family)
        for _, terms, *_ in family.training_step(fake(batch), Clock(20)):
            for term, value in terms.items():
                assert isinstance(value, FakeTensor) and value.device.type == "cuda" and value.ndim == 0, term


@pytest.mark.parametrize("name", [name for name in family_names() if name != PERSONAL])
@pytest.mark.slow
def test_animation(name, sample):
    opt = options(name, sample, training=False)
    clip = next(find_dataset(opt.dataset_mode)(opt, training=False).clips())
    family = find_family(name)(opt, training=False).eval()
    source, driving = default_collate([clip.source]), default_collate(list(itertools.islice(clip.driving, 4)))
    first = None if clip.first is None else default_collate([clip.first])
    with cuda(), torch.no_grad():
        move(family)
        state = family.encode_source(fake(source))
        if first is not None:
            state = family.begin_with(state, fake(first))
        frames, _ = family.animate(state, fake(driving))
        assert frames.device.type == "cuda" and frames.shape[1] == 3


def test_animation_of_a_learned_person(sample):
    family, batch = trained_family(PERSONAL, sample)
    with cuda(), torch.no_grad():
        move(family.eval())
        frames, _ = family.animate(family.encode_source({}), fake(batch))
        assert frames.device.type == "cuda" and frames.shape[1] == 3


@pytest.fixture
def transfers(monkeypatch):
    """Lets results be read back by `cpu().numpy()` and `float()`, which count here and give ones."""
    counted = []

    def array(tensor):
        counted.append(tuple(tensor.shape))
        return np.ones(tensor.shape, str(tensor.dtype).removeprefix("torch."))

    host_list = FakeTensor.tolist
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: SimpleNamespace(numpy=lambda: array(tensor)))
    monkeypatch.setattr(torch.Tensor, "__float__", lambda tensor: float(array(tensor).mean()))
    # Constants that are computed on the host are no transfer.
    monkeypatch.setattr(
        FakeTensor, "tolist",
        lambda tensor: np.ones(tensor.shape).tolist() if tensor.device.type == "cpu" else host_list(tensor),
    )  # fmt: skip
    return counted


EXPLAINED = [name for name in family_names() if find_family(name).explain is not Family.explain]


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_read_back_what_they_draw_and_nothing_else(name, sample, transfers):
    opt = options(name, sample, training=False)
    clip = next(find_dataset(opt.dataset_mode)(opt, training=False).clips())
    family = find_family(name)(opt, training=False).eval()
    source, driving = default_collate([clip.source]), default_collate(list(itertools.islice(clip.driving, 2)))
    with cuda(), torch.no_grad():
        move(family)
        frames, _, columns = family.explain(fake(source), family.encode_source(fake(source)), fake(driving))
        assert frames.device.type == "cuda" and set(columns) >= {"source", "driving", "prediction"}
    # Points and pictures of each column that shows points; whatever else is drawn stays on the device.
    assert 0 < len(transfers) <= 2 * len(columns)


PIXELS = ("l1", "l1/gfla", "psnr", "ssim/gauss", "ssim/win7", "ssim/gfla", "ssim/mcnet", "ms_ssim")


@pytest.mark.parametrize("metric", find_metrics(PIXELS), ids=lambda metric: metric.name)
def test_metrics_of_pixels_read_back_a_number_per_frame(metric, transfers):
    with cuda():
        tools = Tools(torch.device("cuda"))
        streams = [Stream(tools).show(fake(torch.zeros(2, 3, 192, 192))) for _ in range(2)]
        columns = metric(tools).update(Batch(*streams))
    assert {len(values) for values in columns.values()} == {2}
    assert transfers and all(shape == (2,) for shape in transfers)


class NothingShown:
    """Replaces the picture of a validation, which is selected by contents on the host."""

    picture = None

    def add(self, made, items):
        assert made.device.type == "cuda"


@pytest.mark.parametrize("name", ["fomm", "tps"])
def test_validation_prepares_networks_and_measures_clips(name, sample, transfers, monkeypatch):
    opt = options(name, sample, training=False)
    job, build = next(iter(find_dataset(opt.dataset_mode)(opt, training=False).jobs())), find_family(name)
    quick_forms_work()  # tries a convolution, which needs content
    trained = build(opt, training=False).eval()
    with cuda(real_inputs=True):
        move(trained)
        device = torch.device("cuda")
        # Measuring looks whether frames are finite and in [0, 1], which waits for them.
        monkeypatch.setattr("metrics.evaluation.measuring.checked", lambda frames, *_: frames.to(device))
        measurement = Measurement(["l1", "ssim/gauss"], ["truth"], Tools(device), controls=False)
        monkeypatch.setattr(nn.Module, "to", lambda module, *_: move(module) or module)
        what = SimpleNamespace(
            jobs=[job], every=1, names=["l1", "ssim/gauss"], build=lambda: build(opt, training=False),
            measure=lambda job, clip: ClipSums(measurement, job.name, clip),
        )  # fmt: skip
        validation = Validation(what, Processes(device), share=1.0, frames=3)
        animator = validation._animator(trained)
        assert animator is not None and {value.device.type for value in animator.family.parameters()} == {"cuda"}
        monkeypatch.setattr("engine.validation._ShownPictures", NothingShown)
        sums, _ = validation._clip(job, animator)
    assert len(sums) == 5


MISTAKES = {
    "a number": lambda x: x * float(x.mean()),
    "a condition": lambda x: x + 1 if x.sum() > 0 else x,
    "a mask": lambda x: x[x > 0],
    "another device": lambda x: x + torch.ones(3),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_synchronisation_and_other_devices_are_detected(mistake):
    with cuda(), pytest.raises((DataDependentOutputException, DynamicOutputShapeException, RuntimeError)) as error:
        MISTAKES[mistake](fake(torch.ones(3)))
    assert error.type is not RuntimeError or "Mixing" in str(error.value) or "devices" in str(error.value)


@pytest.mark.parametrize("name", family_names())
@pytest.mark.slow
def test_every_network_is_one_graph_for_the_compiler(name, sample):
    """--compile: as the training step calls them; what breaks a graph costs a round trip of the device each time."""
    family, batch = trained_family(name, sample)
    calls = {}
    hooks = [
        network.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: calls.setdefault(name, (args, kwargs)), with_kwargs=True
        )
        for name, network in family.networks().items()
        if name not in family.not_compiled
    ]
    for _ in family.training_step(batch, Clock(20)):
        pass
    for hook in hooks:
        hook.remove()
    assert calls
    for network, (args, kwargs) in calls.items():
        torch._dynamo.reset()
        with torch.no_grad():
            torch.compile(getattr(family, network), backend="aot_eager", fullgraph=True)(*args, **kwargs)
