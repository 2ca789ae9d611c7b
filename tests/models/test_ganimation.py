"""GANimation: released entries, the two updates of the discriminator, schedules, checkpoints, animation."""

import json
import logging
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from paths import REFERENCE
from reference.formula import fill, image

from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models.ganimation.family import Ganimation
from models.ganimation.log import ALWAYS_ZERO, COLUMNS, report_line, reported_step
from models.ganimation.networks import Discriminator, Generator
from options import parse
from util.errors import UserError
from util.expressions import VIEWS

MANIFEST = json.loads((REFERENCE / "ganimation/manifest.json").read_text())
SMALL = ["--model=ganimation", "--image_size=64", "--cond_nc=11", "--ngf=4", "--num_blocks=1"]


def make(*words: str, training: bool = True) -> Ganimation:
    opt = parse([*SMALL, *(["--ndf=2"] if training else []), *words], training=training)
    family = Ganimation(opt, training)
    if training:
        family.prepare_training(opt)
        # At the start the attention hardly depends on the picture: larger weights make mistakes visible.
        for network in family.networks().values():
            for value in network.parameters():
                torch.nn.init.normal_(value, std=0.2) if value.ndim > 1 else None
    return family


def batch(count: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    pictures = torch.from_numpy(image("picture", (count, 3, 64, 64), seed))
    return {"image": pictures, "aus": torch.rand(count, 11), "desired": torch.rand(count, 11)}


def trainer_of(family: Ganimation, epoch_size: int = 8) -> Trainer:
    return Trainer(family, Processes(torch.device("cpu")), Clock(epoch_size))


def state_of(family: Ganimation) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in family.state_dict().items()}


def assert_same(one: dict, other: dict, tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=tolerance), name


# --- networks ---------------------------------------------------------------------------------------------------------


def test_entries_shapes_and_their_order_are_those_of_the_released_weights():
    with torch.device("meta"):
        networks = {"G": Generator(), "D": Discriminator()}
    for key, network in networks.items():
        own = {name: list(value.shape) for name, value in network.state_dict().items()}
        assert list(own.items()) == list(MANIFEST["original"][key].items())
        assert sum(value.numel() for value in network.parameters()) == MANIFEST["original"][f"{key}_parameters"]


@pytest.mark.parametrize(("size", "units", "kernel"), [(64, 11, 1), (100, 17, 1), (256, 3, 4)])
def test_other_sizes_and_numbers_of_units_change_two_entries_only(size, units, kernel):
    with torch.device("meta"):
        generator, discriminator = Generator(units), Discriminator(size, units)
    own = {name: list(value.shape) for name, value in generator.state_dict().items()}
    assert own == MANIFEST["original"]["G"] | {"main.0.weight": [64, 3 + units, 7, 7]}
    own = {name: list(value.shape) for name, value in discriminator.state_dict().items()}
    assert own == MANIFEST["original"]["D"] | {"conv2.weight": [units, 2048, kernel, kernel]}


@pytest.mark.parametrize("size", [64, 100, 128])
@pytest.mark.parametrize("count", [1, 2])
def test_results_keep_their_axes_at_any_size(size, count):
    picture, condition = torch.zeros(count, 3, size, size), torch.zeros(count, 5)
    color, attention = Generator(5, width=4, blocks=1)(picture, condition)
    critic, aus = Discriminator(size, 5, width=2)(picture)
    assert color.shape == (count, 3, size, size) and attention.shape == (count, 1, size, size)
    assert critic.shape == (count, 1, size // 64, size // 64) and aus.shape == (count, 5)


def test_the_generator_takes_pictures_that_are_not_square():
    color, _ = Generator(5, width=4, blocks=1)(torch.zeros(1, 3, 60, 84), torch.zeros(1, 5))
    assert color.shape == (1, 3, 60, 84)


def test_narrow_discriminators_can_start_with_a_signal_that_reaches_the_end():
    torch.manual_seed(0)
    picture = torch.rand(4, 3, 64, 64)
    spreads = {init: float(Discriminator(64, 5, 4, init)(picture)[1].std().detach()) for init in ("paper", "width")}
    assert spreads["paper"] < 1e-3 < 0.05 < spreads["width"]


def test_noise_is_on_all_that_the_discriminator_sees_and_leaves_no_entry():
    plain, noisy = Discriminator(64, 5, 4, "width"), Discriminator(64, 5, 4, "width", noise=0.5)
    noisy.load_state_dict(plain.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(plain(picture)[1], plain(picture)[1])
    assert not torch.allclose(noisy(picture)[1], noisy(picture)[1])


def test_sizes_that_cannot_work_are_refused_by_name():
    with pytest.raises(UserError, match="62 x 64.*multiples of 4"):
        Generator(5, width=4)(torch.zeros(1, 3, 62, 64), torch.zeros(1, 5))
    with pytest.raises(UserError, match="--image_size 60.*at least 64"):
        Discriminator(60, 5)


# --- training ---------------------------------------------------------------------------------------------------------


def updates(family: Ganimation, step: int) -> list[tuple[str, set[str]]]:
    """Which optimizers a step asks for, with which terms."""
    return [(names, set(terms)) for names, terms, *_ in family.training_step(batch(), SimpleNamespace(step=step))]


def test_a_step_updates_the_discriminator_twice_and_the_generator_in_every_nth():
    family = make("--train_G_every_n_iterations=3")
    critic = [("discriminator", {"d_real", "d_cond", "d_fake"}), ("discriminator", {"d_gp"})]
    terms = {"g_mskd_fake", "g_mskd_cond", "g_cyc", "g_m1", "g_m2", "g_m1_s", "g_m2_s"}
    assert [updates(family, step) for step in range(3)] == [critic, critic, [*critic, ("generator", terms)]]


def test_entries_without_a_gradient_of_the_penalty_move_by_momentum():
    family = make("--train_G_every_n_iterations=9")
    trainer = trainer_of(family)
    start = family.discriminator.conv2.weight.detach().clone()
    trainer.step([batch()])
    moved = float((family.discriminator.conv2.weight.detach() - start).abs().mean())
    assert moved == pytest.approx(1.4715e-4, rel=0.02)
    assert {int(state["step"]) for state in trainer.optimizers["discriminator"].state.values()} == {2}


def test_micro_batches_equal_one_big_batch():
    results = []
    for parts in (1, 2):
        family = make("--batch_size=4", "--train_G_every_n_iterations=1").double()
        filled = fill({name: value.shape for name, value in family.state_dict().items()})
        family.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
        family.objective.draw_alpha = lambda real: torch.full((len(real), 1, 1, 1), 0.3, dtype=real.dtype)
        whole = {name: value.double() for name, value in batch().items()}
        pieces = [{name: value[i * 4 // parts : (i + 1) * 4 // parts] for name, value in whole.items()}
                  for i in range(parts)]  # fmt: skip
        losses, _ = trainer_of(family).step(pieces)
        results.append((state_of(family), {name: value.double() for name, value in losses.items()}))
    assert_same(results[0][0], results[1][0], 1e-9)
    assert_same(results[0][1], results[1][1], 1e-4)


def test_loss_weights_can_be_given_for_another_batch_size():
    family = make("--batch_size=4", "--weights_for_batch=25")
    assert family.objective.condition == pytest.approx(160)
    assert family.objective.smoothness == pytest.approx(25e-5)


def test_visualisation_does_not_change_training():
    ends = []
    for look in (False, True):
        torch.manual_seed(0)
        family = make("--train_G_every_n_iterations=2")
        trainer = trainer_of(family)
        for step in range(3):
            _, visuals = trainer.step([batch(seed=step)])
            trainer.clock.advance(4)
            if look:
                assert list(visuals)[:3] == ["input", "fake", "attention"]
                assert all(float(picture.min()) >= 0 and float(picture.max()) <= 1 for picture in visuals.values())
        ends.append(state_of(family))
    assert_same(*ends)


def test_the_rate_falls_by_epochs_or_by_steps():
    by_epochs = make("--nepochs_no_decay=3", "--nepochs_decay=4")
    rates = [by_epochs.rate("generator", SimpleNamespace(epoch=epoch)) for epoch in range(8)]
    assert rates == [1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert by_epochs.planned_epochs == 7
    by_steps = make("--nsteps_no_decay=100", "--nsteps_decay=50")
    assert [by_steps.rate("generator", SimpleNamespace(step=step)) for step in (0, 100, 125)] == [1, 1, 0.5]


def test_options_in_seconds_name_those_in_steps():
    with pytest.warns(UserWarning, match="--print_freq_s has no effect.*--print_every"):
        make("--print_freq_s=60")


# --- checkpoints ------------------------------------------------------------------------------------------------------


def trained(folder: Path, steps: int, *, resume: bool = False) -> Ganimation:
    """A run with batches of 4, saved after both steps of its epochs, from the start or from a saved state."""
    torch.manual_seed(0)
    family = make("--batch_size=4", "--train_G_every_n_iterations=2", "--nepochs_no_decay=0", "--nepochs_decay=4")
    trainer, checkpoints = trainer_of(family), Checkpoints(folder, keep=0, options={"batch_size": 4})
    assert checkpoints.resume(trainer) == resume
    while trainer.clock.step < steps:
        trainer.step([batch(seed=trainer.clock.step)])
        trainer.clock.advance(4)
        checkpoints.save(trainer)
    return family


def test_files_have_the_names_and_content_of_the_original(tmp_path):
    trained(tmp_path, 3)
    kinds = [f"{what}_epoch_{n}_id_{net}.pth" for what in ("net", "opt") for n in ("1", "2", "latest") for net in "DG"]
    kinds.sort()
    assert sorted(path.name for path in tmp_path.glob("*_id_*")) == kinds
    record = torch.load(tmp_path / "opt_epoch_2_id_D.pth")
    assert set(record) == {"state", "param_groups"} and len(record["param_groups"]) == 1
    assert int(record["state"][0]["step"]) == 6


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path):
    whole = trained(tmp_path / "whole", 6)
    trained(tmp_path / "parts", 3)
    assert_same(state_of(whole), state_of(trained(tmp_path / "parts", 6, resume=True)))


def test_a_folder_of_the_original_is_continued_from(tmp_path, caplog):
    """Prefix of DataParallel, statistics of old libraries, the old file format, no training state."""
    family = trained(tmp_path / "ours", 4)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for key, network in (("G", family.generator), ("D", family.discriminator)):
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        if key == "G":
            state |= {"module.main.1.running_mean": torch.zeros(4), "module.main.1.running_var": torch.ones(4)}
        torch.save(state, theirs / f"net_epoch_2_id_{key}.pth", _use_new_zipfile_serialization=False)
        record = torch.load(tmp_path / "ours" / f"opt_epoch_2_id_{key}.pth")
        torch.save(record, theirs / f"opt_epoch_2_id_{key}.pth", _use_new_zipfile_serialization=False)
    other = make("--batch_size=4")
    trainer = trainer_of(other)
    with caplog.at_level(logging.INFO):
        assert Checkpoints(theirs, options={"batch_size": 4}).resume(trainer)
    assert_same(state_of(family), state_of(other))
    assert (trainer.clock.epoch, trainer.clock.step) == (2, 4)
    assert int(trainer.optimizers["discriminator"].state_dict()["state"][0]["step"]) == 8
    assert "main.1.running_mean" in caplog.text and "dropped" in caplog.text


def replicate_state(network: str, seed: int) -> dict[str, torch.Tensor]:
    shapes = {}
    for name, shape in MANIFEST["replicate"][network].items():
        block = name.split(".")[1]
        if network == "G" and block.isdigit() and 9 < int(block) <= 14:
            continue
        shapes[name.replace(".15.", ".10.").replace(".18.", ".13.")] = [_small(network, size) for size in shape]
    return {name: torch.from_numpy(value) for name, value in fill(shapes, seed).items()}


def _small(network: str, size: int) -> int:
    """Widths of 64 and more as the small networks of these tests have them."""
    if network == "G":
        return {20: 14, 64: 4, 128: 8, 256: 16}.get(size, size)
    return {64: 2, 128: 4, 256: 8, 512: 16, 1024: 32, 2048: 64, 17: 11, 2: 1}.get(size, size)


def test_weights_of_the_second_implementation_are_found_by_name_and_read(tmp_path, caplog):
    state = replicate_state("G", 3)
    for number in (2, 30):
        torch.save(state, tmp_path / f"{number}_net_gen.pth", _use_new_zipfile_serialization=False)
    family = make(training=False)
    with caplog.at_level(logging.INFO):
        load_networks(family, tmp_path / "30_net_gen.pth")
        load_networks(family, tmp_path)
    own = family.generator.state_dict()
    assert torch.equal(own["attetion_reg.0.weight"], state["au_top.0.weight"])
    assert torch.equal(own["main.9.main.3.weight"], state["model.9.conv_block.3.weight"])
    assert bool((own["main.1.weight"] == 1).all()) and bool((own["main.1.bias"] == 0).all())
    assert "model.9.conv_block.0.bias" in caplog.text


def test_a_wrong_layout_is_refused(tmp_path):
    torch.save(replicate_state("G", 3), tmp_path / "30_net_gen.pth")
    with pytest.raises(UserError, match=r"missing: main\.0\.weight"):
        load_networks(make("--weights_layout=original", training=False), tmp_path)


# --- animation --------------------------------------------------------------------------------------------------------


def animated(family: Ganimation, source: torch.Tensor, driving: dict, pieces: int) -> torch.Tensor:
    with torch.inference_mode():
        state, made = family.encode_source({"image": source}), []
        for start in range(0, len(driving["aus"]), pieces):
            some = {name: value[start : start + pieces] for name, value in driving.items()}
            frames, state = family.animate(state, some)
            made.append(frames)
    return torch.cat(made)


def test_frames_do_not_depend_on_batches():
    family, aus = make().eval(), torch.rand(5, 11)
    source = batch(1)["image"]
    whole = animated(family, source, {"aus": aus}, 5)
    assert torch.allclose(whole, animated(family, source, {"aus": aus}, 2), atol=1e-5)
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1


def test_each_view_shows_its_part_of_the_two_passes():
    family, source = make().eval(), batch(1)["image"]
    aus, back = torch.rand(1, 11).expand(len(VIEWS), -1), torch.rand(1, 11).expand(len(VIEWS), -1)
    driving = {"aus": aus, "back": back, "view": torch.arange(len(VIEWS))}
    views = dict(zip(VIEWS, animated(family, source, driving, 3), strict=True))
    with torch.inference_mode():
        first = family.change(2 * source - 1, aus[:1])
        second = family.change(first.image, back[:1])
    assert torch.allclose(views["input"], source[0])
    for name, made in (("", first), ("second ", second)):
        assert torch.allclose(views[f"{name}composed"], (made.image[0] + 1) / 2, atol=1e-5)
        assert torch.allclose(views[f"{name}attention"], made.attention[0].expand(3, -1, -1), atol=1e-5)
        assert torch.allclose(views[f"{name}color"], (made.color[0] + 1) / 2, atol=1e-5)


def test_several_faces_of_a_picture_are_handled_separately():
    family, faces, aus = make().eval(), batch(2)["image"], torch.rand(1, 11).expand(3, -1)
    made = animated(family, faces[None], {"aus": aus, "face": torch.tensor([1, 0, 1])}, 2)
    alone = animated(family, faces[1:], {"aus": aus[:1]}, 1)
    assert torch.allclose(made[0], alone[0], atol=1e-5) and torch.allclose(made[2], alone[0], atol=1e-5)
    assert not torch.allclose(made[1], alone[0], atol=1e-3)


def test_a_saturated_attention_is_that_in_training_and_testing():
    plain, saturated = make().eval(), make("--do_saturate_mask").eval()
    saturated.load_state_dict(plain.state_dict())
    real, aus = 2 * batch(1)["image"] - 1, torch.rand(1, 11)
    soft, hard = plain.change(real, aus).attention, saturated.change(real, aus).attention
    assert torch.allclose(hard, (0.55 * torch.tanh(3 * (soft - 0.5)) + 0.5).clamp(0, 1))


def test_the_log_has_the_columns_of_the_original_in_its_order():
    numbers = {"d_gp": 0.5, "d_real": -1.25, "d_cond": 1.0, "d_fake": 0.125, "attention": 0.4}
    moment = {"epoch": 2, "step_in_epoch": 7, "steps_per_epoch": 50, "step": 108, "seconds": 0.3514}
    line = report_line(**moment, time=datetime(2026, 11, 30, 5, 1, 37), numbers=numbers)
    assert line == (
        "[30/11/2026 05:01:37] (T, epoch: 3, it: 7/50, t/smpl: 0.351s) g_fake:0.000 g_cond:0.000 g_rgb:0.000 "
        "g_rgb_un:0.000 g_rgb_s:0.000 g_idt:0.000 d_real:-1.250 d_cond:1.000 d_fake:0.125 d_gp:0.500 "
    ), "terms of the generator have no value in a report without a step of it"
    assert reported_step(line) == 108
    whole = report_line(**moment, time=datetime(2026, 11, 30), numbers=dict.fromkeys(COLUMNS, 1.0))
    assert [pair.split(":")[0] for pair in whole.split(") ")[1].split()] == list(COLUMNS)
    assert reported_step("[30/11/2026 05:01:37] (V, epoch: 3, time_to_val: 12s) d_gp:0.5 ") is None


def test_the_log_lists_every_term_of_the_objective():
    losses, _ = trainer_of(make("--train_G_every_n_iterations=1")).step([batch()])
    assert set(losses) - {"attention", "attention_spread"} == set(COLUMNS) - ALWAYS_ZERO
