"""Edge-guided face animation: reading along flows, released entries, training updates, animation."""

import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from browser import content_of
from paths import ROOT
from reference.formula import image
from torch import nn

from data.sample_faces import tiny_clip
from data.sample_faces.layouts import frames_and_keypoints
from data.video import open_video
from data.video.images import read_image
from engine.checkpoints.load import load_networks
from engine.clock import Clock
from engine.monitor import Monitor
from engine.sinks import PictureFolder
from models.face.family import FaceAnimation, as_grid
from models.face.log import COLUMNS, report_line, reported_step
from models.face.losses import AffineResidual, Warping, residual_filters
from models.face.networks import Frame, Generator, Guides, LocalAttention, flow_to_reference, with_pixels_of
from models.face.sampling import attend, extract, gaussian_resample, sample
from models.parts.warps import warp
from options import parse
from util.errors import UserError

MANIFEST = json.loads((ROOT / "tests/reference/face/manifest.json").read_text())
TINY = f"--config={ROOT / 'configs/tiny/face.yaml'}"
SIDE = 64


def family(*words: str) -> FaceAnimation:
    opt = parse([TINY, *words], training=True)
    made = FaceAnimation(opt, training=True)
    made.prepare_training(opt)
    for parameter in made.generator.parameters():  # a gain of 0.02 hides what flows and attention do
        if parameter.ndim > 1:
            nn.init.orthogonal_(parameter)
    return made


def batch(frames: int = 6, count: int = 1) -> dict[str, torch.Tensor]:
    structures = torch.from_numpy(image("structure", (count, frames, 16, SIDE, SIDE)))
    structures[:, :, 15] *= 6
    return {"frames": torch.from_numpy(image("frames", (count, frames, 3, SIDE, SIDE))), "structures": structures}


def at(step: int) -> SimpleNamespace:
    return SimpleNamespace(step=step, epoch=step)


def flow_over(map_size: tuple[int, int], reach: float = 4.0) -> torch.Tensor:
    """A flow that also leads outside of the map."""
    return reach * torch.randn(2, 2, *map_size, dtype=torch.float64)


# --- reading along flows ----------------------------------------------------------------------------------------------


def bilinear(image: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """One sample (C,) of a map (C, H, W) that is continued by its border."""
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for column, row in itertools.product((math.floor(x), math.floor(x) + 1), (math.floor(y), math.floor(y) + 1)):
        inside = min(max(row, 0), image.shape[1] - 1), min(max(column, 0), image.shape[2] - 1)
        total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[:, inside[0], inside[1]]
    return total


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_patches_match_the_formula(size):
    source, flow = torch.randn(2, 3, 5, 6, dtype=torch.float64), flow_over((4, 3))
    patches = extract(source, flow, size)
    for b, y, x, i, j in itertools.product(range(2), range(4), range(3), range(size), range(size)):
        place = (x + flow[b, 0, y, x] + j - size // 2, y + flow[b, 1, y, x] + i - size // 2)
        torch.testing.assert_close(patches[b, :, size * y + i, size * x + j], bilinear(source[b], *map(float, place)))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_attention_is_the_mean_of_weighted_patches(size):
    source, flow = torch.randn(2, 3, 7, 6, dtype=torch.float64), flow_over((7, 6))
    weights = torch.randn(2, size**2, 7, 6, dtype=torch.float64).softmax(1)
    expected = F.avg_pool2d(F.pixel_shuffle(weights, size) * extract(source, flow, size), size)
    torch.testing.assert_close(attend(source, flow, weights), expected)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_attention_weights_come_from_both_patches(size):
    block = LocalAttention(4, size, hidden=8).double()
    source, target = torch.randn(2, 2, 4, 6, 5, dtype=torch.float64)
    flow = flow_over((6, 5))
    both = torch.cat([extract(target, torch.zeros_like(flow), size), extract(source, flow, size)], 1)
    expected = block.fully_connect_layer(both).softmax(1)
    torch.testing.assert_close(block.weights(block.query(target), block.keys(source), flow), expected)


@pytest.mark.parametrize(
    "read",
    [
        sample,
        gaussian_resample,
        lambda x, flow: extract(x, flow, 3),
        lambda x, flow: attend(x, flow, WEIGHTS.softmax(1)),
    ],
    ids=["sample", "gaussian", "extract", "attend"],
)
def test_gradients_are_right_inside_and_outside_the_map(read):
    flow = 4 * torch.rand(1, 2, 3, 4, dtype=torch.float64) - 2
    # At whole numbers the slope is one-sided.
    flow = torch.where((flow - flow.round()).abs() < 0.05, flow + 0.1, flow).requires_grad_()
    source = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(read, (source, flow))


WEIGHTS = torch.randn(1, 9, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_half_precision_samples_at_exact_positions():
    source, flow = torch.randn(1, 4, 8, 96), torch.full((1, 2, 8, 96), 0.25)
    torch.testing.assert_close(
        sample(source, flow.bfloat16()), sample(source, flow), msg="positions were rounded to half precision"
    )


def test_no_map_of_patches_is_kept_for_the_gradient():
    size, width = 5, 32
    block, kept = LocalAttention(width, size, hidden=16), []
    source, target = torch.randn(2, 1, width, 16, 16, requires_grad=True)
    flow = torch.randn(1, 2, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel() * x.element_size()) or x, lambda x: x
    ):
        block(source, block.keys(source), target, flow)
    assert max(kept) < width * 16 * 16 * size**2 * 4 / 3


def test_an_affine_flow_costs_nothing():
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    flow = torch.stack([2 + 0.3 * columns - rows, 0.1 * rows - 4 * columns])[None]
    residual = AffineResidual([3, 5])
    assert residual(flow, 5) < 1e-8
    assert residual(flow + torch.randn_like(flow), 3) > 0.1
    assert torch.linalg.matrix_rank(residual_filters(4).flatten(1)) == 16 - 3


# --- released weights -------------------------------------------------------------------------------------------------


def test_entries_and_shapes_are_those_of_the_released_weights():
    opt = parse(["--model=face", "--no_perceptual", "--init_type=none"], training=True)
    with torch.device("meta"):
        model = FaceAnimation(opt, training=True)
        model.prepare_training(opt)
    for network, entry in model.layout.entries.items():
        own = {name: list(value.shape) for name, value in getattr(model, network).state_dict().items()}
        assert own == MANIFEST[f"net_{entry}"]


def save(model: FaceAnimation, folder: Path, change=dict) -> Path:
    for network, entry in model.layout.entries.items():
        torch.save(change(getattr(model, network).state_dict()), folder / f"latest_net_{entry}.pth")
    return folder


def older(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As PyTorch 0.4 on several GPUs saved it."""
    kept = {f"module.{name}": value for name, value in state.items() if not name.endswith("weight_v")}
    norms = {f"module.{name.removesuffix('_orig')}": value / 3 for name, value in state.items() if "_orig" in name}
    return kept | norms


def test_files_of_old_versions_and_several_gpus_load(tmp_path):
    model, other = family(), family("--seed=1")
    for _ in range(20):  # until the vectors of spectral norm have settled
        model.discriminator(torch.randn(1, 3, SIDE, SIDE))
    load_networks(other, save(model, tmp_path, older))
    x = torch.randn(1, 3, SIDE, SIDE)
    torch.testing.assert_close(other.discriminator.eval()(x), model.discriminator.eval()(x), rtol=1e-3, atol=1e-3)
    for name, value in model.generator.state_dict().items():
        assert torch.equal(value, other.generator.state_dict()[name])


def test_the_later_of_two_equal_entries_counts():
    model = family().generator
    state = model.state_dict()
    state["target.outconv.conv1.bias"] = torch.full((3,), 1.0)
    state["target.outconv.model.2.bias"] = torch.full((3,), 2.0)
    model.load_state_dict(state)
    assert model.target.outconv.conv1.bias.tolist() == [2.0] * 3


def test_the_generator_alone_is_enough_to_animate(tmp_path):
    save(family(), tmp_path)
    for entry in ("D", "D_V"):
        (tmp_path / f"latest_net_{entry}.pth").unlink()
    load_networks(FaceAnimation(parse([TINY], training=False), training=False), tmp_path)


@pytest.mark.parametrize(
    ("layers", "sizes"), [("1", "1=4"), ("3", "3=3"), ("1,2,3", "1=2,2=5,3=3"), ("3,1", "1=3,2=9,3=2")]
)
def test_every_choice_of_layers_makes_frames(layers, sizes):
    model = family(f"--attn_layer={layers}", f"--kernel_size={sizes}")
    state = model.encode_source({"image": torch.rand(1, 3, SIDE, SIDE), "structure": torch.rand(1, 16, SIDE, SIDE)})
    frames, _ = model.animate(state, {"structure": torch.rand(2, 16, SIDE, SIDE)})
    assert frames.shape == (2, 3, SIDE, SIDE) and frames.isfinite().all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--attn_layer=4"], "--attn_layer 4: the range is 1 to 3"),
        (["--attn_layer=2,3", "--kernel_size=2=5"], "attention layer 3"),
        (["--structure_nc=3"], "--structure_nc 3: expected 16"),
        (["--frames_D_V=4"], "--max_frames_per_gpu"),
    ],
)
def test_impossible_options_are_explained(words, told):
    with pytest.raises(UserError, match=told):
        family(*words)


def test_sizes_that_do_not_fit_are_explained():
    with pytest.raises(UserError, match="multiples of 32"):
        family().encode_source({"image": torch.rand(1, 3, 80, 80), "structure": torch.rand(1, 16, 80, 80)})


# --- training ---------------------------------------------------------------------------------------------------------


def updates(model: FaceAnimation, given: dict, rounds: int = 1) -> list[tuple[str, dict[str, float]]]:
    """Train for some steps; the optimizer and the terms of each update."""
    optimizers, told = model.optimizers(), []
    for step in range(rounds):
        for name, terms in model.training_step(given, at(step)):
            parameters = [p for group in optimizers[name].param_groups for p in group["params"]]
            optimizers[name].zero_grad()
            sum(terms.values()).backward(inputs=parameters)
            optimizers[name].step()
            told.append((name, {term: value.item() for term, value in terms.items()}))
    return told


def test_a_clip_in_chunks_updates_both_in_turns_and_learns():
    told = updates(family("--max_frames_per_gpu=3"), batch(), rounds=4)
    assert [name for name, _ in told[:4]] == ["D", "G", "D", "G"]
    assert set(told[0][1]) == {"dis_img_gen", "dis_img_gen_v"}
    assert set(told[1][1]) == {
        "app_gen",
        "regularization_p",
        "regularization_r",
        "ad_gen",
        "ad_gen_v",
        "warp_p",
        "warp_r",
    }
    assert all(math.isfinite(value) for _, terms in told for value in terms.values())
    assert told[-1][1]["app_gen"] < 0.97 * told[3][1]["app_gen"]


def test_every_weight_of_a_named_network_gets_a_gradient():
    model = family("--attn_layer=1,2,3", "--kernel_size=1=3,2=3,3=3", "--max_frames_per_gpu=3")
    for name, terms in model.training_step(batch(3), at(0)):
        parameters = [p for group in model.optimizers()[name].param_groups for p in group["params"]]
        sum(terms.values()).backward(inputs=parameters)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)


def test_the_reference_is_encoded_once_per_update(monkeypatch):
    model, calls = family("--max_frames_per_gpu=3"), []
    monkeypatch.setattr(
        model.generator.source_reference, "forward", count_calls(model.generator.source_reference, calls)
    )
    updates(model, batch(6))
    assert len(calls) == 2


def count_calls(network: nn.Module, calls: list):
    forward = network.forward
    return lambda *arguments: calls.append(None) or forward(*arguments)


def test_the_draws_are_those_of_the_step_for_every_micro_batch():
    model = family()
    draws = [model.adversarial.draw(model.draws(step), 6) for step in (5, 5, 6, 7, 8, 9)]
    assert draws[0] == draws[1] and len(set(draws)) > 1


def test_bytes_and_maps_are_the_same_structure():
    given = batch(3)
    coded = torch.cat([255 * given["structures"][:, :, :15], given["structures"][:, :, 15:]], 2).round().to(torch.uint8)
    maps = torch.cat([coded[:, :, :15] / 255, coded[:, :, 15:].float()], 2)
    told = [updates(seeded(), given | {"structures": structures}) for structures in (coded, maps)]
    assert told[0] == told[1]


def test_the_pictures_of_a_step_show_every_frame_of_a_chunk(tmp_path):
    clock, step = Clock(1), family("--max_frames_per_gpu=6").training_step(batch(6), at(0))
    clock.advance(1)
    with pytest.raises(StopIteration) as end:
        while True:
            next(step)
    monitor = Monitor(
        [PictureFolder(tmp_path)], steps=1, clock=clock, print_every=1, pictures_every=1, device=torch.device("cpu")
    )
    monitor.record(clock, {}, end.value.value)
    (grid,) = tmp_path.iterdir()
    assert read_image(grid).shape[0] == 18 + 6 * 96


def seeded() -> FaceAnimation:
    torch.manual_seed(3)
    return family()


# --- animation --------------------------------------------------------------------------------------------------------


def animated(model: FaceAnimation, structures: torch.Tensor, pieces: int) -> torch.Tensor:
    with torch.inference_mode():
        state = model.encode_source(
            {"image": torch.from_numpy(image("source", (1, 3, SIDE, SIDE))), "structure": structures[:1]}
        )
        made = []
        for piece in structures.split(pieces):
            frames, state = model.animate(state, {"structure": piece})
            made.append(frames)
    return torch.cat(made)


def test_frames_do_not_depend_on_how_the_video_is_cut():
    model, structures = family(), batch(5)["structures"][0]
    whole = animated(model, structures, 5)
    assert whole.std(0).max() > 1e-3
    for pieces in (1, 2, 3):
        torch.testing.assert_close(animated(model, structures, pieces), whole)


def test_the_source_is_encoded_once(monkeypatch):
    model, calls = family(), []
    monkeypatch.setattr(
        model.generator.source_reference, "forward", count_calls(model.generator.source_reference, calls)
    )
    animated(model, batch(4)["structures"][0], 2)
    assert len(calls) == 1


def test_half_precision_and_compiled_frames_are_the_same():
    model, structures = family(), batch(2)["structures"][0]
    exact = animated(model, structures, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (animated(model, structures, 2) - exact).abs().mean() < 0.05


def test_pixels_are_copied_along_the_flow_where_the_mask_is_open():
    reference, painted = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    flow = torch.zeros(1, 2, 16, 16)
    flow[:, 0] = 1.5  # to the right, in pixels of its own size
    for mask, expected in ((1.0, reference.roll(-3, 3)), (0.0, painted)):
        masks = torch.full((1, 1, 16, 16), mask)
        copied = with_pixels_of(painted, reference, Guides(torch.zeros_like(flow), flow, masks, masks))
        torch.testing.assert_close(copied[..., :28], expected[..., :28])


def test_an_untrained_model_can_start_with_the_reference():
    distances = {}
    for start in ("yes", "no"):
        opt = parse([TINY, f"--start_with_source={start}"], training=True)
        made = FaceAnimation(opt, training=True)
        made.prepare_training(opt)
        data = batch(frames=1)
        source = {"image": data["frames"][0], "structure": data["structures"][0]}
        with torch.inference_mode():
            pictures, _ = made.animate(made.encode_source(source), source)
        distances[start] = float((pictures - source["image"]).abs().mean())
    assert distances["yes"] < distances["no"] / 2, distances
    with pytest.raises(UserError, match="--start_with_source needs --copy_pixels"):
        family("--start_with_source", "--copy_pixels=no")


def test_a_flow_as_a_grid_reads_the_same_pixels():
    reference, guides = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 16, 16)
    flow = torch.randn(1, 2, 16, 16)
    whole = flow_to_reference(Guides(flow, flow, guides, guides), (32, 32))
    warped = warp(reference, as_grid(whole), padding="border")
    torch.testing.assert_close(warped, sample(reference, whole), rtol=0, atol=1e-5)


def test_a_flow_that_leads_right_has_no_warping_loss():
    picture = F.interpolate(torch.rand(1, 3, 8, 8), (32, 32), mode="bilinear")
    target, still, right = picture.roll(-4, 3), torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    right[:, 0, :, :14] = 2  # half of four pixels, at half the size; the last columns come from the other side
    found = {}
    for name, flow in (("still", still), ("right", right)):
        guides = Guides(still, flow.requires_grad_(), still[:, :1], still[:, :1])
        terms = Warping(2.0)([Frame(target, {1: guides})], [target], picture, picture)
        terms["warp_r"].backward()
        found[name] = terms["warp_r"].item(), terms["warp_p"].item()
        assert flow.grad.abs().sum() > 0, "flows are told where to go"
    assert found["right"][0] < found["still"][0] / 3 and found["still"][0] == pytest.approx(found["still"][1])


def test_the_generator_can_be_captured_whole():
    model = family("--layers=2", "--attn_layer=2", "--kernel_size=2=3").generator.eval()
    reference = model.encode_reference(torch.rand(1, 3, SIDE, SIDE), torch.rand(1, 16, SIDE, SIDE))
    given = (torch.rand(1, 16, SIDE, SIDE), reference.picture, reference.structure, reference)
    captured = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(captured(*given).picture, model(*given).picture)


def test_the_log_has_the_columns_of_the_original_in_its_order():
    numbers = dict.fromkeys(reversed(COLUMNS), 0.5)
    line = report_line(epoch=1, step=200, seconds=0.3514, numbers=numbers, time=None, step_in_epoch=3)
    assert line.startswith("(epoch: 2, iters: 200, time: 0.351) app_gen: 0.500 correctness_p: 0.500 correctness_r: 0.5")
    assert line.endswith("ad_gen: 0.500 dis_img_gen: 0.500 ad_gen_v: 0.500 dis_img_gen_v: 0.500 ")
    assert reported_step(line) == 200 and reported_step("===== Training Loss (today) =====") is None


PUBLISHED = [
    "--model=face", "--attn_layer=2,3", "--kernel_size=2=5,3=3", "--dataset_mode=face",
    "--dataroot=./dataset/FaceForensics",
]  # fmt: skip
"""The words of the published commands but for the device; the rest of a test's words keeps it short."""


@pytest.mark.slow
def test_the_published_commands_train_and_animate(tmp_path):
    frames, truth = tiny_clip(frames=5, size=SIDE)
    for split in ("train", "test"):
        for name in "ab":
            frames_and_keypoints(tmp_path / "dataset" / "FaceForensics", split, name, frames, truth)
    small = ["--n_frames_total=3", "--steps=1", "--no_perceptual", "--visdom=no", f"--load_size={SIDE}", "--nThreads=0"]
    run("train.py", "--name=face", *PUBLISHED, *small, folder=tmp_path)
    headline, line = (tmp_path / "result" / "face" / "loss_log.txt").read_text().splitlines()
    terms = ["app_gen", "regularization_p", "regularization_r", "ad_gen", "dis_img_gen", "ad_gen_v", "dis_img_gen_v"]
    values = "".join(rf"{name}: \d+\.\d{{3}} " for name in terms)
    assert headline.startswith("=====")
    assert re.fullmatch(rf"\(epoch: 1, iters: 1, time: \d+\.\d{{3}}\) {values}", line), line
    released = tmp_path / "result" / "face_checkpoints"
    released.mkdir()
    (tmp_path / "result" / "face" / "latest_net_G.pth").rename(released / "latest_net_G.pth")
    words = ["--results_dir=./eval_results/face", "--nThreads=1", f"--load_size={SIDE}"]
    run("test.py", "--name=face_checkpoints", *PUBLISHED, *words, folder=tmp_path)
    results = tmp_path / "eval_results" / "face"
    for name in "ab":
        assert len(list((results / name).glob("0000?_vis.png"))) == len(list((results / name).glob("*_edge.png"))) == 5
        with open_video(results / f"{name}_edge_vis_.mp4") as video:
            assert len(video) == 5 and video.size == (SIDE, 2 * SIDE)
        shown = content_of(results / "index.html")["results"]
        assert f"{name}_edge_vis_.mp4" in [file for one in shown for file in one.values()]


def run(script: str, *words: str, folder: Path) -> None:
    command = [sys.executable, str(ROOT / script), "--gpu_id=-1", *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.gpu
def test_the_device_gives_the_same_frames():
    model, structures = family(), batch(3)["structures"][0]
    expected = animated(model, structures, 3)
    model.cuda()
    state = model.encode_source(
        {"image": torch.from_numpy(image("source", (1, 3, SIDE, SIDE))).cuda(), "structure": structures[:1].cuda()}
    )
    frames, _ = model.animate(state, {"structure": structures.cuda()})
    torch.testing.assert_close(frames.cpu(), expected, atol=1e-3, rtol=1e-3)


def test_the_default_generator_has_the_parameters_described():
    with torch.device("meta"):
        assert sum(p.numel() for p in Generator({2: 5, 3: 3}).parameters()) == 16_906_667
