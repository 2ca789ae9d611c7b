"""The trainer against loops written by hand, in all the ways in which it can run."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from toys import TOYS, Chunks, EveryNth, Joint, TwiceCritic
from trainers import batches, build, parts_of

from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from engine.distributed import Processes
from engine.finite import NotFinite
from engine.networks import compile_networks
from engine.trainer import Trainer
from engine.updates import RunningStep, StepError
from util.errors import UserError

CPU = torch.device("cpu")


def train(family, some, accumulate=1, **options):
    trainer = Trainer(family, Processes(CPU), Clock(20), **options)
    for batch in some:
        trainer.step(parts_of(batch, accumulate))
        trainer.clock.advance(4)
    return trainer


def assert_same_weights(one, other, tolerance=1e-10):
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(left, right, rtol=0, atol=tolerance), name


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_trainer_equals_the_loop_by_hand(toy, accumulate):
    ours, by_hand = build(toy), build(toy)
    before = copy.deepcopy(ours)
    train(ours, batches(5), accumulate)
    by_hand.by_hand(batches(5))
    assert_same_weights(ours, by_hand)
    assert not torch.equal(next(ours.generator.parameters()), next(before.generator.parameters()))


@pytest.mark.parametrize("toy", TOYS)
def test_losses_are_those_of_the_whole_batch(toy):
    one, four = build(toy), build(toy)
    losses = Trainer(one, Processes(CPU), Clock(20)).step(batches(1))[0]
    split = Trainer(four, Processes(CPU), Clock(20)).step(parts_of(batches(1)[0], 4))[0]
    assert losses.keys() == split.keys()
    for name in losses:
        assert split[name].item() == pytest.approx(losses[name].item(), abs=1e-6)


def test_gradients_reach_only_the_named_optimizers():
    family = build(Joint)
    trainer = Trainer(family, Processes(CPU), Clock(20))
    step = RunningStep(family, batches(1)[0], trainer.clock, trainer.optimizers)
    trainer._backward_one(step.advance(), 1)
    assert all(p.grad is not None for p in family.generator.parameters())
    assert all(p.grad is None for p in family.critic.parameters())


def test_a_missing_gradient_counts_as_zero():
    """Adam moves a parameter by its momentum when its gradient is zero, and not at all when there is none."""

    class Sometimes(Joint):
        def training_step(self, batch, clock):
            x = batch["x"].flatten(1)
            last_layer = self.generator[2](x.repeat(1, 2)[:, :8])
            yield "gen", {"l2": (self.generator(x) if clock.step == 0 else last_layer).square().mean()}

    family = build(Sometimes)
    trainer = train(family, batches(1))
    before = family.generator[0].weight.clone()
    trainer.step(batches(2)[1:])
    assert not torch.equal(before, family.generator[0].weight)


@pytest.mark.parametrize("toy", TOYS)
def test_state_continues_bit_for_bit(toy, tmp_path):
    whole, half = build(toy), build(toy)
    train(whole, batches(6))
    trainer = train(half, batches(6)[:3])
    Checkpoints(tmp_path).save(trainer)
    other = build(toy)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    continued = Trainer(other, Processes(CPU), Clock(20))
    assert Checkpoints(tmp_path).resume(continued)
    assert continued.clock.step == 3
    for batch in batches(6)[3:]:
        continued.step([batch])
        continued.clock.advance(4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_random_numbers_in_a_step_depend_on_seed_and_step_alone():
    class Noisy(Chunks):
        def training_step(self, batch, clock):
            yield "gen", {"noise": (self.generator(torch.randn(2, 6).double())).square().mean()}

    one = train(build(Noisy), batches(4), seed=3).family
    other = build(Noisy)
    trainer = Trainer(other, Processes(CPU), Clock(20), seed=3)
    for batch in batches(4):
        torch.rand(17)
        trainer.step([batch])
        trainer.clock.advance(4)
    assert_same_weights(one, other, 0)


@pytest.mark.parametrize("toy", TOYS)
def test_a_loss_that_is_not_finite_stops_with_name_and_step(toy):
    term = {Joint: "l1", EveryNth: "gen", TwiceCritic: "l2", Chunks: "l1"}[toy]
    with pytest.raises(NotFinite, match=f"step 3: {term} = nan"):
        train(build(toy, spoil_at=3), batches(5))


def test_skip_leaves_the_weights_of_that_update_alone():
    trainer = train(build(TwiceCritic, spoil_at=1), batches(5), on_nan="skip")
    assert trainer.skipped == 1
    assert all(torch.isfinite(p).all() for p in trainer.family.parameters())
    assert trainer.clock.step == 5


def test_disagreeing_micro_batches_are_refused():
    class Confused(Joint):
        def training_step(self, batch, clock):
            name = "gen" if batch["x"][0, 0, 0, 1] == 0 else "dis"
            yield name, {"x": (self.generator if name == "gen" else self.critic)(batch["x"].flatten(1)).sum()}

    batch = batches(1)[0]
    batch["x"][:2] = 0
    with pytest.raises(RuntimeError, match="different updates"):
        train(build(Confused), [batch], accumulate=2)


def test_an_unknown_optimizer_is_named():
    class Wrong(Joint):
        def training_step(self, batch, clock):
            yield "generator", {"x": self.generator(batch["x"].flatten(1)).sum()}

    with pytest.raises(StepError, match="no optimizer 'generator'.*gen.*dis.*coder"):
        train(build(Wrong), batches(1))


def number(loss):
    return {"l1": loss.item()}


def whole_picture(loss):
    return {"l1": loss.expand(2, 3)}


def bare_tensor(loss):
    return loss


def nothing(loss):
    return {}


def whole_number(loss):
    return {"l1": loss.detach().long()}


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (number, r"yield 2 \(gen\): the term 'l1' is the float .*, not a tensor"),
        (whole_picture, r"yield 2 \(gen\): the term 'l1' is a float64 tensor of shape \(2, 3\), not one number"),
        (bare_tensor, r"yield 2 \(gen\): a float64 tensor of shape \(\) instead of a dict of terms"),
        (nothing, r"yield 2 \(gen\): has no terms"),
        (whole_number, r"yield 2 \(gen\): the term 'l1' is a int64 tensor of shape \(\), which has no gradient"),
    ],
)
def test_wrong_terms_are_reported_with_family_yield_and_line(spoilt, told):
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            x = batch["x"].flatten(1)
            yield "dis", {"dis": self.critic(x).mean()}
            yield "gen", spoilt(self.generator(x).mean())

    with pytest.raises(StepError, match=rf"training_step of Wrong \(test_trainer\), {told}") as error:
        train(build(Wrong), batches(1))
    assert 'yield "gen", spoilt' in lines_of(error)


def lines_of(error):
    """The lines of the traceback, as people see it."""
    return "\n".join(str(entry.statement) for entry in error.traceback)


@pytest.mark.parametrize(
    ("yielded", "told"),
    [
        (lambda loss: loss, "yields a float64 tensor of shape"),
        (lambda loss: {"l1": loss}, "yields dict; an update is yielded as"),
        (lambda loss: ("gen", {"l1": loss}, {}, "more"), "yields a tuple of 4"),
        (lambda loss: (3, {"l1": loss}), "names its optimizers by the int 3"),
        (lambda loss: ((), {"l1": loss}), "names its optimizers by a tuple of 0"),
        (lambda loss: ("gen", {"l1": loss}, {"accuracy": 0.5}), "the reported number 'accuracy' is the float 0.5"),
    ],
)
def test_invalid_yields_are_reported_with_their_line(yielded, told):
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            yield yielded(self.generator(batch["x"].flatten(1)).mean())

    with pytest.raises(StepError, match=f"yield 1.*{told}") as error:
        train(build(Wrong), batches(1))
    assert "yield yielded" in lines_of(error)


def test_a_step_that_returns_its_losses_is_reported():
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            return {"l1": self.generator(batch["x"].flatten(1)).mean()}

    with pytest.raises(StepError, match="training_step of Wrong.*returns dict and yields nothing"):
        train(build(Wrong), batches(1))


def test_pictures_that_are_not_a_dict_are_reported():
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            yield from super().training_step(batch, clock)
            return batch["x"]

    with pytest.raises(StepError, match="training_step of Wrong returns a float64 tensor of shape"):
        train(build(Wrong), batches(1))


def test_an_error_of_the_backward_pass_shows_the_line_of_the_family():
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            hidden = self.generator[0](batch["x"].flatten(1)).tanh()
            loss = self.generator[2](hidden).mean()
            hidden.mul_(2)
            yield "gen", {"l1": loss}

    with pytest.raises(RuntimeError, match="modified by an inplace operation") as error:
        train(build(Wrong), batches(1))
    assert 'yield "gen", {"l1": loss}' in lines_of(error)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda family, x: {"l1": family.generator(x).mean().detach()}, r"Terms: l1 \(detached\)"),
        (lambda family, x: {"l1": family.coder(x).mean()}, "Terms: l1"),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_reaches_nothing_of_its_optimizer_is_refused(made, told, accumulate):
    class Unreached(Joint):
        def training_step(self, batch, clock):
            yield "gen", made(self, batch["x"].flatten(1))

    parameters = "without gradient: generator.0.weight, generator.0.bias, generator.2.weight, generator.2.bias"
    with pytest.raises(StepError, match=f"reaches none .* of the optimizer 'gen'.*{told}; {parameters}") as error:
        train(build(Unreached), batches(1), accumulate)
    assert 'yield "gen", made' in lines_of(error)


def test_a_late_optimizer_is_checked_in_its_first_updates():
    class Late(Joint):
        def training_step(self, batch, clock):
            x = batch["x"].flatten(1)
            yield "dis", {"dis": self.critic(x).mean()}
            if clock.step >= 5:
                yield "gen", {"l1": self.critic(x).mean()}

    with pytest.raises(StepError, match="yield 2.*'gen'"):
        train(build(Late), batches(7))


def test_a_loss_without_gradients_is_accepted_in_later_steps():
    class Rarely(Joint):
        def training_step(self, batch, clock):
            x = batch["x"].flatten(1)
            yield "gen", {"l1": (self.coder if clock.step == 3 else self.generator)(x).mean()}

    assert train(build(Rarely), batches(5)).clock.step == 5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_stays_close(precision):
    exact, lower = build(Chunks).float(), build(Chunks).float()
    some = [{key: value.float() for key, value in batch.items()} for batch in batches(4)]
    train(exact, some)
    trainer = train(lower, some, precision=precision)
    assert lower.generator[0].weight.dtype == torch.float32
    assert trainer.precision.scaler.is_enabled() == (precision == "fp16")
    assert_same_weights(exact, lower, 0.05)
    assert not torch.equal(exact.generator[0].weight, lower.generator[0].weight)


def test_fp16_overflow_skips_the_update_and_lowers_the_scale():
    class Overflow(Chunks):
        def training_step(self, batch, clock):
            yield "gen", {"big": self.generator(batch["x"].flatten(1)).float().sum() * 1e35}

    family = build(Overflow).float()
    before = copy.deepcopy(family)
    trainer = Trainer(family, Processes(CPU), Clock(20), precision="fp16")
    scale = trainer.precision.scaler.get_scale()
    trainer.step([{key: value.float() for key, value in batches(1)[0].items()}])
    assert_same_weights(family, before, 0)
    assert trainer.precision.scaler.get_scale() == scale / 2


@pytest.mark.parametrize("toy", [Joint, EveryNth])
@pytest.mark.slow
def test_compiled_networks_keep_names_and_results(toy):
    plain, compiled = build(toy), build(toy)
    names = list(compiled.state_dict())
    compile_networks(compiled.networks(), compiled.not_compiled)
    train(plain, batches(3))
    train(compiled, batches(3))
    assert list(compiled.state_dict()) == names
    assert_same_weights(plain, compiled, 1e-8)


def test_rates_follow_the_clock_and_not_the_history():
    trainer = train(build(TwiceCritic), batches(3))
    assert trainer.optimizers["gen"].param_groups[0]["lr"] == pytest.approx(5e-3)
    trainer.clock.step = 0
    trainer.step(batches(1))
    assert trainer.optimizers["gen"].param_groups[0]["lr"] == pytest.approx(1e-2)


def test_clock_counts_samples_of_all_processes():
    clock = Clock(10)
    for _ in range(3):
        clock.advance(4)
    assert (clock.step, clock.samples, clock.epoch) == (3, 12, 1)
    assert math.isclose(clock.exact_epoch, 1.2)


class WithScale(Joint):
    """Trains a number of its own beside the networks of its layout."""

    def prepare_training(self, opt):
        super().prepare_training(opt)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def optimizers(self):
        generator = super().optimizers()["gen"]
        generator.add_param_group({"params": [self.scale]})
        return super().optimizers() | {"gen": generator}


class WithoutEntry(Joint):
    """Trains a network that its layout does not list."""

    layout = replace(Joint.layout, entries={"generator": "generator", "critic": "discriminator"})


class Misspelt(Joint):
    """Lists a network that it does not have."""

    layout = replace(Joint.layout, entries=Joint.layout.entries | {"codder": "coder"})


class BareEntry(WithScale):
    """Lists a parameter where a network is expected."""

    layout = replace(Joint.layout, entries=Joint.layout.entries | {"scale": "scale"})


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (WithScale, "WithScale.*'gen' trains scale, which no checkpoint would save"),
        (
            WithoutEntry,
            "'coder' trains coder.0.weight.*in layout.entries \\(generator, critic\\) owns them",
        ),
        (Misspelt, "layout.entries names codder, which is not a network"),
        (BareEntry, "layout.entries names scale, which is not a network"),
    ],
)
def test_parameters_outside_checkpoints_are_refused_at_the_start(family, told):
    with pytest.raises(UserError, match=told):
        Trainer(build(family), Processes(CPU), Clock(20))


def test_an_entry_may_name_a_network_that_is_not_built():
    class Later(Joint):
        layout = replace(Joint.layout, entries=Joint.layout.entries | {"later": "later"})
        later = None

    assert train(build(Later), batches(1)).clock.step == 1
