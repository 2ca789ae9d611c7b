"""What a GPU would meet, tried without one.

Training steps and animation run on a CUDA device of tensors that have shapes and a device, but no content. What makes
a tensor on another device, or waits for the device (`.item()`, `nonzero`, a mask as an index, `if tensor:`), is an
error there, in seconds and on any machine. The backward pass and the optimizers' updates are PyTorch's own and left
out. `explain` is not tried: it draws on the host. Networks are compiled as --compile does.
"""

import itertools
from contextlib import contextmanager

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
from engine.clock import Clock
from models import family_names, find_family


def trained_family(name, sample):
    """A family with all its networks, and a batch of its samples."""
    opt = options(name, sample, training=True)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    family = find_family(name).for_training(opt)
    family.milestone("loaded", dataset)
    samples = SeededSamples(dataset, 0)
    batch = default_collate([samples[key][0] for key in next(iter(EndlessSampler(len(dataset), 2)))])
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
def cuda():
    """Where tensors have no content, and cuda is a device."""
    # cuDNN is asked for its version by some layers, and is not there.
    with FakeTensorMode(allow_non_fake_inputs=False), torch.backends.cudnn.flags(enabled=False):
        yield


@pytest.mark.parametrize("name", family_names())
def test_a_training_step(name, sample, monkeypatch):
    family, batch = trained_family(name, sample)
    monkeypatch.setattr(torch.autograd, "grad", lambda result, inputs, **_: (torch.zeros_like(inputs),))
    with cuda():
        move(family)
        for _, terms, *_ in family.training_step(fake(batch), Clock(20)):
            for term, value in terms.items():
                assert isinstance(value, FakeTensor) and value.device.type == "cuda" and value.ndim == 0, term


@pytest.mark.parametrize("name", [name for name in family_names() if name != PERSONAL])
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
