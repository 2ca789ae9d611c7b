"""Promises of all families, tested for every folder of models/ with a configuration in configs/tiny."""

import copy
import itertools

import pytest
import torch
from paths import ROOT
from tiny_families import options
from torch.utils.data import default_collate
from toys import Joint
from trainers import build

from building import build_animator, load_family
from data import find_dataset
from data.loading.sampler import EndlessSampler, SeededSamples
from engine.animator import Animator
from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import family_names, find_family
from options import owner_of_weights, parse
from util.errors import UserError

CPU = torch.device("cpu")
SECOND_STAGES = {name for name in family_names() if find_family(name).begins_with}
"""Families that start from the weights of another one; they have their own tests."""
FAMILIES = [name for name in family_names() if name not in SECOND_STAGES]


def far_apart(batch):
    """A batch in which the driving frame shows another person.

    Two frames of a short clip may differ by 0.001 or less: a sound family that begins by repeating its source finds
    nothing to learn in them, and its losses would rise from there.
    """
    return batch | ({"driving": batch["driving"].flip(0)} if {"source", "driving"} <= batch.keys() else {})


def trained_on_one_batch(opt, folder):
    """A family after a few steps on one and the same batch; its weights before them, and the losses of each."""
    torch.set_num_threads(1)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    torch.manual_seed(0)
    family = find_family(opt.model)(opt, training=True)
    family.prepare_training(opt)
    planned = family.number_of_steps(opt.epochs, opt.steps, len(dataset), 2)
    trainer = Trainer(family.train(), Processes(CPU), Clock(len(dataset), planned_steps=planned), folder=folder)
    keys = next(iter(EndlessSampler(len(dataset), 2)))
    samples = SeededSamples(dataset, 0)
    batch = far_apart(default_collate([samples[key][0] for key in keys]))
    before = copy.deepcopy(family.state_dict())
    losses = []
    for _ in range(6):
        losses.append(trainer.step([batch])[0])
        trainer.clock.advance(2)
    return opt, trainer, before, losses


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, sample, tmp_path_factory):
    return trained_on_one_batch(options(request.param, sample), tmp_path_factory.mktemp("run"))


def test_losses_are_finite_and_fall_on_one_batch(trained):
    opt, _, _, losses = trained
    assert all(torch.isfinite(value) for step in losses for value in step.values())
    falling = [name for name in losses[0] if losses[-1][name] < losses[0][name]]
    values = {name: [round(float(step[name]), 5) for step in losses if name in step] for name in losses[0]}
    assert falling, f"{opt.model}: no loss falls in {len(losses)} steps on one batch: {values}"


def test_a_family_that_starts_as_a_copy_of_its_source_learns(sample, tmp_path):
    opt = parse(["--model=toys:Repeater", f"--dataroot={sample}", "--batch_size=2", "--steps=6"], training=True)
    test_losses_are_finite_and_fall_on_one_batch(trained_on_one_batch(opt, tmp_path))


def test_every_optimizer_moves_its_weights(trained):
    _, trainer, before, _ = trained
    moved = {
        id(value)
        for name, value in trainer.family.state_dict(keep_vars=True).items()
        if not torch.equal(value, before[name])
    }
    for name, optimizer in trainer.optimizers.items():
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        share = sum(id(parameter) in moved for parameter in parameters) / max(1, len(parameters))
        assert share > 0.5, f"{name} moves {share:.0%} of its parameters"


@pytest.fixture
def testing(trained, sample):
    """The options of test.py."""
    return options(trained[0].model, sample, training=False)


@pytest.fixture
def clip(testing):
    dataset = find_dataset(testing.dataset_mode)(testing, training=False)
    return next(dataset.clips())


def frames(family, clip, batch_size, count=7, precision="fp32"):
    animator = Animator(family.eval(), CPU, batch_size=batch_size, precision=precision, channels_last=False)
    made = animator.batches(clip.source, itertools.islice(iter(clip.driving), count), clip.first)
    with torch.inference_mode():
        return torch.cat([batch.float() for _, batch in made])


def test_frames_do_not_depend_on_the_batching(trained, clip):
    family = trained[1].family
    one, three = frames(family, clip, 1), frames(family, clip, 3)
    assert one.ndim == 4 and one.shape[1] == 3 and one.min() >= 0 and one.max() <= 1
    assert torch.allclose(one, three, rtol=0, atol=2e-5)


def test_a_family_provides_its_motion_or_refuses(trained, clip):
    family = trained[1].family.eval()
    animator = Animator(family, CPU, batch_size=3, channels_last=False)
    found = animator.with_motion(clip.source, itertools.islice(iter(clip.driving), 4), clip.first)
    if not family.tells_motion:
        with pytest.raises(UserError, match="motion/truth: this family has no dense motion"):
            next(found)
        return
    _, made, motions = map(torch.cat, zip(*[(torch.zeros(1), *parts) for _, *parts in found], strict=True))
    assert torch.allclose(made, frames(family, clip, 3, count=4), rtol=0, atol=2e-5)
    assert motions.shape[0] == 4 and motions.shape[3] == 2 and motions.isfinite().all()


@pytest.mark.slow
def test_the_source_is_encoded_once(trained, clip, monkeypatch):
    family, calls = trained[1].family, []
    encode = family.encode_source
    monkeypatch.setattr(family, "encode_source", lambda source: calls.append(1) or encode(source))
    frames(family, clip, 2)
    assert len(calls) == 1


@pytest.mark.slow
def test_saved_and_loaded_weights_make_the_same_frames(trained, testing, clip, tmp_path):
    opt, trainer, _, _ = trained
    Checkpoints(tmp_path).save(trainer)
    other = find_family(opt.model)(testing, training=False)
    load_networks(other, tmp_path)
    with trainer.averages.applied():  # which are loaded where a family keeps some
        assert torch.equal(frames(trainer.family, clip, 4), frames(other, clip, 4))


def test_only_weights_that_a_file_lacks_are_initialised_at_random(trained, sample, tmp_path, monkeypatch):
    opt, trainer, *_ = trained
    Checkpoints(tmp_path).save(trainer)
    for path in tmp_path.glob("latest*"):
        content = torch.load(path, weights_only=False)
        for name in trainer.family.optional:
            content.pop(trainer.family.layout.entries[name], None)
        torch.save(content, path)
    (tmp_path / "latest_training.pth").unlink()  # it knows the checksums
    monkeypatch.setattr("engine.networks._unchanged", lambda tensor, *_, **__: tensor.data.fill_(torch.nan))
    testing = options(opt.model, sample, training=False)
    testing.checkpoint = str(tmp_path)
    family, _ = load_family(testing)
    for name, value in family.state_dict().items():
        assert value.isfinite().all(), name


@pytest.mark.slow
def test_lower_precision_stays_close(trained, clip):
    family = trained[1].family
    gap = (frames(family, clip, 4) - frames(family, clip, 4, precision="bf16")).abs()
    assert gap.mean() < 0.02


SINGLE_FILE = [name for name in FAMILIES if "{entry}" not in find_family(name).layout.pattern]
"""Families that keep all networks in one file."""


@pytest.fixture(scope="module")
def files(sample, tmp_path_factory):
    """A file of weights of each of these families."""
    made = {}
    for name in SINGLE_FILE:
        family = find_family(name)(options(name, sample, training=False), training=False)
        content = {family.layout.entries[key]: network.state_dict() for key, network in family.networks().items()}
        made[name] = tmp_path_factory.mktemp(name) / "weights.pth"
        torch.save(content, made[name])
    return made


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(SINGLE_FILE, 2)))
def test_a_checkpoint_of_another_family_is_refused_by_its_name(one, other, files, sample):
    family = find_family(one)(options(one, sample, training=False), training=False)
    with pytest.raises(UserError, match=f"checkpoint of the family {other}: load it with --model {other}"):
        load_networks(family, files[other], owner=owner_of_weights)


def of_default_size(name):
    """A family as released, of shapes alone."""
    with torch.device("meta"):
        return find_family(name)(parse([f"--model={name}"], training=True), training=True)


def toy():
    return build(Joint)


def states(family):
    """The content of a file of weights, or of one of several."""
    networks = {family.layout.entries[name]: network.state_dict() for name, network in family.networks().items()}
    return next(iter(networks.values())) if "{entry}" in family.layout.pattern else networks


@pytest.mark.parametrize("name", family_names())
def test_files_of_every_family_are_known_by_their_networks(name):
    first_stage, second = find_family(name).begins_with, of_default_size(name)
    assert second.recognises_weights(states(second))
    assert owner_of_weights(toy(), states(second)) in (name, *first_stage)


CHANGES = {
    "another network": lambda content: content | {"extra": content["coder"]},
    "one network less": lambda content: {name: state for name, state in content.items() if name != "coder"},
    "another shape": lambda content: content | {"coder": content["coder"] | {"0.weight": torch.zeros(8, 7)}},
    "a tensor more": lambda content: content | {"coder": content["coder"] | {"4.weight": torch.zeros(8, 7)}},
    "no state dict": lambda content: content | {"coder": 3},
    "no dictionary": lambda content: list(content.values()),
}


def test_by_default_a_family_knows_exactly_its_entries_and_their_shapes():
    content = states(toy())
    beside = {"epoch": 3, "optimizer_generator": {"state": {}, "param_groups": []}}
    assert toy().recognises_weights(content | beside)
    recognised = [name for name, change in CHANGES.items() if toy().recognises_weights(change(content))]
    assert not recognised


def test_a_network_called_embedder_makes_no_talking_head():
    embedder = torch.nn.Conv2d(6, 8, 3).state_dict()
    assert owner_of_weights(toy(), {"embedder": embedder}) is None
    assert owner_of_weights(toy(), {"embedder": embedder, "generator": embedder, "renderer": embedder}) is None


@pytest.mark.parametrize("name", sorted(SECOND_STAGES))
def test_begins_with_names_families(name):
    assert set(find_family(name).begins_with) <= set(FAMILIES)


@pytest.mark.parametrize("name", family_names())
def test_what_is_rebuilt_for_speed_needs_no_random_weights(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    opt = parse([f"--config=configs/tiny/{name}.yaml"], training=False)
    plain = find_family(name)(opt, training=False).eval()
    rebuilt = copy.deepcopy(plain)
    plain.prepare_inference()
    monkeypatch.setattr("engine.networks._unchanged", lambda tensor, *_, **__: tensor.data.fill_(torch.nan))
    opt.channels_last, opt.compile = False, False
    build_animator(opt, rebuilt, Processes(CPU))
    made = rebuilt.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(value, made[key]), key
