"""The quick forms of convolutions against the plain ones, and when they are used."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

from models.parts import cpu_convolutions
from models.parts.blocks import UpBlock, fold_norms, fold_spectral_norms
from models.parts.cpu_convolutions import (
    ColumnWise,
    FourierVolume,
    LaidOut,
    LaidOutTransposed,
    Winograd,
    WinogradVolume,
    minimal_filtering,
    quick_forms_work,
    quicken,
)
from models.parts.warps import coordinate_grid, warp
from models.tps.networks import InstanceNorm

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no quick convolutions"
)
CONVOLUTIONS = {
    "by points": (Winograd, nn.Conv2d(128, 160, 3, padding=1), (32, 64)),
    "by points, in strips that differ": (Winograd, nn.Conv2d(128, 128, 3, padding=1), (36, 32)),
    "by points, without bias": (Winograd, nn.Conv2d(160, 128, 3, padding=1, bias=False), (32, 32)),
    "map too small for it": (Winograd, nn.Conv2d(128, 128, 3, padding=1), (16, 16)),
    "map not made of squares": (Winograd, nn.Conv2d(128, 128, 3, padding=1), (34, 37)),
    "few results of a wide kernel": (ColumnWise, nn.Conv2d(12, 3, 7, padding=3), (20, 24)),
    "the same without bias": (ColumnWise, nn.Conv2d(12, 4, 5, padding=2, bias=False), (9, 24)),
    "many results": (LaidOut, nn.Conv2d(12, 20, 7, padding=3), (20, 24)),
    "narrow": (LaidOut, nn.Conv2d(12, 20, 3, padding=1), (20, 24)),
    "without padding": (LaidOut, nn.Conv2d(128, 128, 3), (32, 32)),
    "strided": (LaidOut, nn.Conv2d(128, 128, 3, stride=2, padding=1), (32, 32)),
    "dilated": (LaidOut, nn.Conv2d(12, 20, 3, padding=2, dilation=2), (20, 24)),
    "in groups": (LaidOut, nn.Conv2d(128, 128, 3, padding=1, groups=2), (32, 32)),
    "even": (LaidOut, nn.Conv2d(12, 20, 4, stride=2, padding=1), (20, 24)),
    "transposed": (LaidOutTransposed, nn.ConvTranspose2d(12, 20, 4, stride=2, padding=1), (5, 6)),
    "transposed, with more at the end": (
        LaidOutTransposed,
        nn.ConvTranspose2d(12, 20, 3, stride=2, padding=1, output_padding=1),
        (5, 6),
    ),
    "reflecting": (nn.Conv2d, nn.Conv2d(12, 3, 7, padding=3, padding_mode="reflect"), (20, 24)),
    "with spectral norm": (nn.Conv2d, spectral_norm(nn.Conv2d(12, 20, 3, padding=1)), (20, 24)),
}


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def case(request):
    """A network of one convolution that is quick, its kind, the convolution itself, and maps for it."""
    kind, conv, size = request.param
    conv(torch.randn(1, conv.in_channels, *size))  # a spectral norm begins with a guess
    conv.eval()
    network = nn.Sequential(conv)
    quicken(network)
    torch.manual_seed(1)
    maps = torch.randn(3, conv.in_channels, *size)
    return kind, network, conv, maps


@torch.no_grad()
def test_fast_convolutions_equal_plain_ones(case):
    kind, network, conv, maps = case
    assert type(network[0]) is kind
    for given in (maps, maps.contiguous(memory_format=torch.channels_last), maps[1:]):
        torch.testing.assert_close(network(given), conv(given), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frames_do_not_depend_on_their_batch(case):
    _, network, _, maps = case
    single = torch.cat([network(frame) for frame in maps.split(1)])
    torch.testing.assert_close(network(maps), single, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_quick_convolutions_under_bfloat16(case):
    _, network, conv, maps = case
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick, plain = network(maps), conv(maps)
    assert quick.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(quick, plain, atol=0.02, rtol=0.02)
    torch.testing.assert_close(network(maps), conv(maps), atol=1e-5, rtol=1e-5)


def test_with_gradients_convolutions_are_plain(case):
    _, network, conv, maps = case
    maps.requires_grad_()
    result, expected = network(maps), conv(maps)
    assert torch.equal(result, expected)
    result.square().sum().backward()
    assert maps.grad.abs().sum() > 0


def test_in_double_precision_convolutions_are_plain():
    conv = nn.Conv2d(128, 128, 3, padding=1).double()
    network = nn.Sequential(conv)
    quicken(network)
    maps = torch.randn(1, 128, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(network(maps), conv(maps))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(network(maps), conv(maps))


@torch.no_grad()
def test_processors_without_bfloat16_take_plain_convolutions(monkeypatch):
    conv = nn.Conv2d(12, 20, 3)
    network = nn.Sequential(conv)
    quicken(network)
    maps = torch.randn(1, 12, 9, 9)
    monkeypatch.setattr(cpu_convolutions, "quick_types", lambda: {torch.float32})
    monkeypatch.setattr(LaidOut, "quick", lambda *_: pytest.fail("a quick form in bfloat16"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(maps), conv(maps))


@torch.no_grad()
def test_compiled_networks_hold_plain_convolutions():
    conv = nn.Conv2d(128, 128, 3, padding=1)
    network = nn.Sequential(conv)
    quicken(network)
    operations = []

    def backend(graph, inputs):
        operations.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    maps = torch.randn(1, 128, 32, 32)
    result = torch.compile(network, backend=backend, fullgraph=True)(maps)
    assert torch.equal(result, conv(maps))
    assert any("conv2d" in name for name in operations) and not any("mkldnn" in name for name in operations)


def test_minimal_filtering_is_exact():
    to_results, of_kernel, to_points = minimal_filtering(torch.float64)
    kernel, pixels = torch.randn(3, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    expected = F.conv1d(pixels[None, None], kernel[None, None])[0, 0]
    torch.testing.assert_close(to_results @ ((of_kernel @ kernel) * (to_points @ pixels)), expected)


@torch.no_grad()
def test_folded_spectral_norms_change_no_value():
    conv = spectral_norm(nn.Conv2d(3, 5, 3))
    network = nn.Sequential(conv, nn.ReLU())
    maps = torch.randn(2, 3, 8, 8)
    network(maps)
    network.eval()
    expected = network(maps)
    fold_spectral_norms(network)
    assert list(network.state_dict()) == ["0.bias", "0.weight"]
    torch.testing.assert_close(network(maps), expected)


@torch.no_grad()
def test_up_blocks_whose_norm_depends_on_the_picture_are_folded_too():
    network = nn.Sequential(UpBlock(6, 4, InstanceNorm))
    nn.init.normal_(network[0].norm.weight)
    maps = torch.randn(2, 6, 5, 7)
    expected = network(maps)
    fold_norms(network)
    assert isinstance(network[0][0], nn.ConvTranspose2d)
    torch.testing.assert_close(network(maps), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize("align_corners", [True, False])
def test_wide_maps_are_sampled_as_narrow_ones(pictures, align_corners):
    torch.manual_seed(0)
    image = torch.randn(pictures, 40, 17, 23).contiguous(memory_format=torch.channels_last)
    grid = coordinate_grid(9, 11, image) + 0.6 * torch.randn(3, 9, 11, 2)
    grid[0, 0, :4] = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1e9, 0.0], [float("inf"), 0.0]])
    expected = warp(image, grid, align_corners)
    with torch.no_grad():
        result = warp(image, grid, align_corners)
        half = warp(image.bfloat16(), grid, align_corners)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5, equal_nan=True)
    torch.testing.assert_close(half.float(), expected, atol=0.05, rtol=0.05, equal_nan=True)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert (expected == 0).all(1).any() and half.dtype == torch.bfloat16


@pytest.mark.parametrize("size", [(5, 32, 32), (3, 36, 32), (1, 32, 64)])
@pytest.mark.parametrize("kind", [FourierVolume, WinogradVolume])
def test_quick_forms_for_volumes(kind, size):
    side = 7 if kind is FourierVolume else 3
    conv = nn.Conv3d(10, 6, side, padding=side // 2)
    torch.nn.init.normal_(conv.bias)
    maps = torch.randn(2, 10, *size)
    quick = kind(conv)
    expected = conv(maps).detach()
    with torch.inference_mode():
        for _ in range(2):  # with weights made now, and kept
            assert torch.allclose(quick(maps), expected, rtol=0, atol=2e-5)
        assert quick._kept is not None
        assert torch.allclose(quick(maps[..., :30, :]), conv(maps[..., :30, :]), rtol=0, atol=2e-5)
        assert quick(maps.double().float()).dtype == torch.float32
    assert torch.equal(quick(maps), conv(maps))  # with gradients it is the convolution itself


def lacking(*_, **__):
    raise AttributeError("no such operation")


def clock_of(seconds):
    """A clock by which the forms take these times, run after run; a form reads it before and after."""
    times = iter([time for one in seconds for _ in range(cpu_convolutions.TRIALS) for time in (0.0, one)])
    return lambda: next(times)


BROKEN = {
    "lacks what they need": {"lay_out": lacking},
    "their results are wrong": {},
    "take 2.0 times as long": {"thread_time": clock_of((1.0, 2.0))},
}


@pytest.fixture
def untried():
    """As in a process that has tried no convolution yet."""
    quick_forms_work.cache_clear()
    yield
    quick_forms_work.cache_clear()


@pytest.mark.parametrize("problem", BROKEN)
def test_where_fast_forms_are_broken_or_slow_convolutions_stay_and_one_warning_says_why(problem, untried, monkeypatch):
    for name, value in BROKEN[problem].items():
        monkeypatch.setattr(cpu_convolutions, name, value)
    if problem == "their results are wrong":
        monkeypatch.setattr(Winograd, "quick", lambda self, x: self.conv(x) + 1000)
    networks = [nn.Sequential(nn.Conv2d(12, 20, 3)) for _ in range(2)]
    with pytest.warns(UserWarning) as told:
        for network in networks:
            quicken(network)
    assert [type(network[0]) for network in networks] == [nn.Conv2d, nn.Conv2d]
    assert len(told) == 1 and problem in str(told[0].message)


def test_the_trial_finds_nothing_here_and_draws_no_random_numbers(untried, monkeypatch):
    monkeypatch.setattr(cpu_convolutions, "thread_time", clock_of((1.0, 1.0)))
    state = torch.get_rng_state()
    assert cpu_convolutions._trial() == ""
    assert torch.equal(state, torch.get_rng_state())
