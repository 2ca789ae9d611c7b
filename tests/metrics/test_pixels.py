"""Metrics of pixels against the libraries' and against their formulas."""

import numpy as np
import pytest
import torch

from metrics import find_metric
from metrics.metric import Batch
from metrics.ms_ssim import ms_ssim
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools


@pytest.fixture(scope="module")
def pictures():
    """Three pairs (H, W, 3) of structured pictures in [0, 1], the second noisier each time."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:192, 0:176] / 192
    real = np.stack([np.stack([np.sin(9 * rows * k + c) * np.cos(7 * columns) for c in range(3)], -1)
                     for k in (1, 2, 3)]) / 2 + 0.5  # fmt: skip
    noise = rng.normal(size=real.shape) * np.array([0.02, 0.1, 0.2])[:, None, None, None]
    return np.clip(real + noise, 0, 1).astype(np.float32), real.astype(np.float32)


def tensor(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def measure(name, made, real):
    metric = find_metric(name)(Tools())
    tools = metric.tools
    return metric.update(Batch(Stream(tools).show(tensor(made)), truth=Stream(tools).show(tensor(real))))


SKIMAGE = {
    "ssim/gauss": (lambda x: x, {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}),
    "ssim/win7": (lambda x: x, {"data_range": 1}),
    "ssim/gfla": (lambda x: x, {"data_range": 1, "win_size": 51}),
    "ssim/mcnet": (lambda x: 2 * x - 1, {"data_range": 2}),
}


@pytest.mark.parametrize("name", SKIMAGE)
def test_ssim_is_that_of_scikit_image(name, pictures):
    from skimage.metrics import structural_similarity

    change, settings = SKIMAGE[name]
    expected = [structural_similarity(change(a.astype(float)), change(b.astype(float)), channel_axis=-1, **settings)
                for a, b in zip(*pictures, strict=True)]  # fmt: skip
    np.testing.assert_allclose(measure(name, *pictures)[name], expected, atol=2e-6)


def test_the_second_ssim_of_gfla_takes_the_range_of_each_result(pictures):
    from skimage.metrics import structural_similarity

    made, real = (255 * one.astype(float) for one in pictures)
    settings = {"channel_axis": -1, "gaussian_weights": True, "use_sample_covariance": False}
    expected = [structural_similarity(b, a, data_range=np.ptp(a), **settings) for a, b in zip(made, real, strict=True)]
    np.testing.assert_allclose(measure("ssim/gfla", *pictures)["ssim/gfla.256"], expected, atol=2e-6)


def test_ms_ssim_is_that_of_piq(pictures):
    piq = pytest.importorskip("piq")
    made, real = map(tensor, pictures)
    expected = piq.multi_scale_ssim(made, real, data_range=1.0, reduction="none")
    torch.testing.assert_close(ms_ssim(made, real), expected, atol=2e-5, rtol=0)


def test_ms_ssim_of_the_same_is_one_and_falls_with_noise(pictures):
    made, real = map(tensor, pictures)
    torch.testing.assert_close(ms_ssim(real, real), torch.ones(3))
    values = ms_ssim(made, real)
    assert 1 > values[0] > values[1] > values[2] > 0


def test_l1_and_psnr_are_their_formulas_frame_by_frame(pictures):
    made, real = pictures
    np.testing.assert_allclose(measure("l1", made, real)["l1"], np.abs(made - real).mean((1, 2, 3)), rtol=1e-5)
    expected = -10 * np.log10(((made - real).astype(float) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(measure("psnr", made, real)["psnr"], expected, rtol=1e-5)


def test_a_frame_that_equals_the_truth_is_counted_and_does_not_make_the_mean_of_psnr_infinite(pictures):
    made, real = pictures[0].copy(), pictures[1]
    made[1] = real[1]
    columns = measure("psnr", made, real)
    assert columns["psnr.equal"].tolist() == [0, 1, 0]
    assert columns["psnr"].mask.tolist() == [False, True, False]


def test_windows_larger_than_the_frames_are_reported(pictures):
    from util.errors import UserError

    small = [one[:, :40, :40] for one in pictures]
    for name in ("ssim/gfla", "ms_ssim"):
        with pytest.raises(UserError, match=name):
            measure(name, *small)
