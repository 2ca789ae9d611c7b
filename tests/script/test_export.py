"""Checkpoints of ours in the originals' programs: loaders written as the specifications say, not as ours work."""

import json
import sys
from typing import NamedTuple

import pytest
import torch
from paths import REFERENCE, ROOT
from torch.optim.lr_scheduler import MultiStepLR
from toys import Chunks
from trainers import build

from engine.checkpoints.save import Checkpoints, continue_from
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import find_family
from options import parse
from script import export
from util.errors import UserError

CPU = torch.device("cpu")
STEPS, EPOCH_SIZE, BATCH = 5, 4, 2
"""Two and a half epochs: the last step belongs to the epoch with the index 2."""


class Original(NamedTuple):
    """The entries that a program of the original reads from a checkpoint."""

    networks: tuple[str, ...]
    optimizers: dict[str, tuple[str, ...]]
    """By their entry, the networks whose parameters they train, in this order."""
    epoch: str
    rate: float
    decay: float = 0.0


FIRST_ORDER = Original(
    networks=("generator", "discriminator", "kp_detector"),
    optimizers={f"optimizer_{name}": (name,) for name in ("generator", "discriminator", "kp_detector")},
    epoch="epoch",
    rate=2e-4,
)
REGIONS = ("generator", "region_predictor", "bg_predictor")
SPLINES = ("inpainting_network", "dense_motion_network", "kp_detector")
ORIGINALS = {
    "fomm": FIRST_ORDER,
    "fomm_prior": FIRST_ORDER,
    "mraa": Original(REGIONS, {"optimizer_reconstruction": REGIONS}, "epoch_reconstruction", 2e-4),
    "mraa_avd": Original(
        (*REGIONS, "avd_network"),
        {"optimizer_reconstruction": ("avd_network",), "optimizer_avd": ("avd_network",)},
        "epoch_avd",
        1e-3,
    ),
    "tps": Original(
        (*SPLINES, "bg_predictor"),
        {"optimizer": SPLINES, "optimizer_bg_predictor": ("bg_predictor",)},
        "epoch",
        2e-4,
        1e-4,
    ),
    "tps_avd": Original((*SPLINES, "bg_predictor", "avd_network"), {"optimizer_avd": ("avd_network",)}, "epoch", 1e-3),
}
WORDS = {
    "fomm": ["--weight_generator_gan=1"],
    "fomm_prior": ["--weight_generator_gan=1"],
    "tps": ["--bg", "--bg_start=0"],
    "tps_avd": ["--bg", "--init_from=given"],
    "mraa_avd": ["--init_from=given"],
}


def new_trainer(model):
    rates = ["--lr_generator=2e-4", "--lr_kp_detector=2e-4", "--lr_discriminator=2e-4"] if "fomm" in model else []
    rates = {"mraa": ["--lr=2e-4"], "tps": ["--lr_generator=2e-4"]}.get(model, rates)
    config = f"--config={ROOT}/configs/tiny/{model}.yaml"
    opt = parse([config, f"--batch_size={BATCH}", "--epoch_milestones=2", *rates, *WORDS.get(model, [])], training=True)
    torch.manual_seed(0)
    family = find_family(model)(opt, training=True)
    family.prepare_training(opt)
    return Trainer(family.train(), Processes(CPU), Clock(EPOCH_SIZE)), vars(opt)


def batch_of(model):
    points = {"keypoint": 64 * torch.rand(BATCH, 18, 2)} if model == "fomm_prior" else {}
    return {"source": torch.rand(BATCH, 3, 64, 64), "driving": torch.rand(BATCH, 3, 64, 64)} | points


@pytest.fixture(scope="module", params=ORIGINALS)
def run(request, tmp_path_factory):
    """A family, a trainer that did some steps, and its checkpoint."""
    torch.set_num_threads(1)
    trainer, options = new_trainer(request.param)
    for _ in range(STEPS):
        trainer.step([batch_of(request.param)])
        trainer.clock.advance(BATCH)
    folder = tmp_path_factory.mktemp(request.param)
    Checkpoints(folder, options=options).save(trainer)
    return request.param, trainer, folder


def exported(folder, output, which="latest"):
    arguments = ["export.py", "--run", str(folder), "--which", which, "--output", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        assert export.main() == 0
    return output


def start_as_original(original, networks, path):
    """The start of an original's program: its optimizers, their schedules, the next epoch."""
    checkpoint = torch.load(path, weights_only=True)
    for name in original.networks:
        networks[name].load_state_dict(checkpoint[name])
    optimizers = {}
    for entry, trained in original.optimizers.items():
        parameters = [parameter for name in trained for parameter in networks[name].parameters()]
        optimizers[entry] = torch.optim.Adam(parameters, original.rate, betas=(0.5, 0.999), weight_decay=original.decay)
        optimizers[entry].load_state_dict(checkpoint[entry])
    start = checkpoint[original.epoch]
    schedules = [MultiStepLR(optimizer, [2], 0.1, last_epoch=start - 1) for optimizer in optimizers.values()]
    return optimizers, schedules, start


def test_an_exported_checkpoint_is_resumed_by_the_original(run, tmp_path):
    model, trainer, folder = run
    original, other = ORIGINALS[model], new_trainer(model)[0].family
    networks = {name: getattr(other, name) for name in original.networks}
    path = exported(folder, tmp_path / "00000002-checkpoint.pth.tar")
    optimizers, schedules, start = start_as_original(original, networks, path)
    assert start == 2
    ours = {id(value): state for each in trainer.optimizers.values() for value, state in each.state.items()}
    for entry, trained in original.optimizers.items():
        names = [(network, name) for network in trained for name, _ in networks[network].named_parameters()]
        parameters = optimizers[entry].param_groups[0]["params"]
        assert len(optimizers[entry].param_groups) == 1 and len(names) == len(parameters)
        for (network, name), parameter in zip(names, parameters, strict=True):
            twin = getattr(trainer.family, network).get_parameter(name)
            assert torch.equal(parameter, twin)
            kept, expected = optimizers[entry].state[parameter], ours.get(id(twin), {})
            assert kept.keys() == expected.keys() and all(torch.equal(kept[key], expected[key]) for key in kept)
        assert optimizers[entry].param_groups[0]["initial_lr"] == original.rate
        optimizers[entry].step()
    for schedule in schedules:
        schedule.step()


def test_our_file_animates_in_the_original_without_changes(run):
    model, trainer, folder = run
    original = ORIGINALS[model]
    pattern = trainer.family.layout.pattern
    checkpoint = torch.load(folder / pattern.format(which="latest"), weights_only=True)
    other = new_trainer(model)[0].family
    for name in original.networks:
        getattr(other, name).load_state_dict(checkpoint[name])
    assert checkpoint[original.epoch] == 2


def test_an_exported_checkpoint_is_resumed_here_as_well(run, tmp_path):
    """It is a file of the original then: weights, optimizers, and the epoch that was finished."""
    model, trainer, folder = run
    path = exported(folder, tmp_path / "any-name.pth.tar", which=f"{STEPS:08d}")
    other = new_trainer(model)[0]
    continue_from(other, path, batch_size=BATCH)
    assert other.clock.epoch == 3
    for name, optimizer in trainer.optimizers.items():
        for one, twin in zip(optimizer.state.values(), other.optimizers[name].state.values(), strict=True):
            assert torch.equal(one["exp_avg"], twin["exp_avg"]) and one["step"] == twin["step"]


@pytest.mark.parametrize(
    ("step", "epoch"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2)], ids=lambda value: str(value)
)
def test_the_epoch_of_a_checkpoint_is_the_one_of_its_last_step(step, epoch):
    clock = Clock(EPOCH_SIZE)
    for _ in range(step):
        clock.advance(BATCH)
    assert clock.last_epoch(BATCH) == epoch


def test_the_files_of_ganimation_are_the_originals(tmp_path):
    """Bare state dicts and Adam records under the epoch's number, from 1."""
    opt = parse([f"--config={ROOT}/configs/tiny/ganimation.yaml", f"--batch_size={BATCH}"], training=True)
    family = find_family("ganimation")(opt, training=True)
    family.prepare_training(opt)
    trainer = Trainer(family.train(), Processes(CPU), Clock(EPOCH_SIZE))
    units = torch.rand(2, BATCH, opt.cond_nc)
    size = opt.image_size
    for _ in range(STEPS):
        trainer.step([{"image": torch.rand(BATCH, 3, size, size), "aus": units[0], "desired": units[1]}])
        trainer.clock.advance(BATCH)
    Checkpoints(tmp_path, options=vars(opt)).save(trainer)
    other = find_family("ganimation")(opt, training=True)
    other.prepare_training(opt)
    for letter, network, ours in (
        ("G", other.generator, trainer.optimizers["generator"]),
        ("D", other.discriminator, trainer.optimizers["discriminator"]),
    ):
        network.load_state_dict(torch.load(tmp_path / f"net_epoch_3_id_{letter}.pth", weights_only=True))
        record = torch.load(tmp_path / f"opt_epoch_3_id_{letter}.pth", weights_only=True)
        assert record.keys() == {"state", "param_groups"} and len(record["param_groups"]) == 1
        optimizer = torch.optim.Adam(network.parameters(), 1e-4, betas=(0.5, 0.999))
        optimizer.load_state_dict(record)
        for one, twin in zip(optimizer.state.values(), ours.state.values(), strict=True):
            assert torch.equal(one["exp_avg_sq"], twin["exp_avg_sq"])
    with pytest.raises(
        UserError, match="the files of ganimation have the original's format already; copy net_epoch_3_id"
    ):
        exported(tmp_path, tmp_path / "all.pth")


def manifest(folder):
    return json.loads((REFERENCE / folder / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("config", "networks", "words"),
    [
        ("fomm/vox-256", manifest("first_order")["vox-256"], ["--no_perceptual"]),
        ("fomm_prior/mixed", manifest("first_order")["facial-prior"], ["--no_perceptual"]),
        ("mraa/vox256-avd", manifest("articulated")["networks"], ["--init_from=given"]),
        ("tps/vox-256-avd", manifest("thin_plate")["networks"], ["--init_from=given"]),
    ],
    ids=["fomm", "fomm_prior", "mraa", "tps"],
)
def test_parameters_have_the_order_of_the_released_entries(config, networks, words):
    """By which an Adam's record numbers them."""
    opt = parse([f"--config={ROOT}/configs/{config}.yaml", *words], training=True)
    with torch.device("meta"):
        family = find_family(opt.model)(opt, training=True)
        family.prepare_training(opt)
    for name, entries in networks.items():
        ours = [key for key, _ in getattr(family, name).named_parameters()]
        assert ours == [key for key in entries if key in set(ours)]


def test_runs_without_checkpoint_and_old_ones_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match="no checkpoint of a training run"):
        exported(tmp_path, tmp_path / "out.pth")
    trainer, options = new_trainer("tps")
    Checkpoints(tmp_path, options=options).save(trainer)
    for path in tmp_path.glob("*_training.pth"):
        state = torch.load(path, weights_only=True)
        for optimizer in state["optimizers"].values():
            optimizer["param_groups"][0].pop("initial_lr", None)  # both names are one file
        torch.save(state, path)
    with pytest.raises(UserError, match="without the starting rates.*continue the run for a step"):
        exported(tmp_path, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_resuming_writes_the_rates_of_the_options_not_those_of_the_file(tmp_path):
    trainer = Trainer(build(Chunks), Processes(CPU), Clock(EPOCH_SIZE))
    state = trainer.state_dict()
    for optimizer in state["optimizers"].values():
        optimizer["param_groups"][0]["initial_lr"] = 7.0
    trainer.load_state_dict(state)
    groups = [group for optimizer in trainer.state_dict()["optimizers"].values() for group in optimizer["param_groups"]]
    assert [group["initial_lr"] for group in groups] == [1e-2, 1e-2]
