"""Four tiny families, one per pattern of updates, each with the same training written as a loop by hand."""

import os
import signal

import torch
from torch import nn

from data.base import Clip, Dataset, Job
from models import Family, Layout
from util.errors import UserError
from util.values import integer


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


class ToyFamily(Family):
    """Shared part of the four: vectors of 6 numbers as "pictures" of 1 x 2 x 3."""

    layout = Layout("{which}_net_{entry}.pth", {"generator": "G", "critic": "D"})

    @staticmethod
    def add_options(parser, training):
        parser.add_argument("--width", type=integer, default=6, help="numbers per sample")
        parser.add_argument("--spoil_at", type=integer, default=-1, help="step at which a loss becomes NaN")
        parser.set_defaults(dataset_mode="tests.toys:ToyData", visdom=False, tensorboard=False)

    def __init__(self, opt, training):
        super().__init__(opt, training)
        self.width, self.spoil_at = opt.width, getattr(opt, "spoil_at", -1)
        self.generator = network(opt.width, opt.width)

    def prepare_training(self, opt):
        self.critic = network(self.width, 1)

    def optimizers(self):
        return {
            "gen": torch.optim.Adam(self.generator.parameters(), 1e-2, betas=(0.5, 0.999)),
            "dis": torch.optim.Adam(self.critic.parameters(), 1e-2, betas=(0.5, 0.999)),
        }

    def spoil(self, clock):
        return float("nan") if clock.step == self.spoil_at else 0.0

    def encode_source(self, source):
        return {"sum": source["x"].sum(), "last": torch.zeros(())}

    def animate(self, state, driving):
        made = self.generator(driving["x"].flatten(1)).sigmoid()
        frames = made[:, :1, None, None].expand(-1, 3, 32, 48)
        return frames, state | {"last": made[-1]}


class Joint(ToyFamily):
    """Generator and a second network together, then the critic (as first-order motion)."""

    layout = Layout(
        "{which}-checkpoint.pth.tar",
        {"generator": "generator", "coder": "coder", "critic": "discriminator"},
        optimizers={"gen": "optimizer_generator", "coder": "optimizer_coder", "dis": "optimizer_discriminator"},
    )

    def __init__(self, opt, training):
        super().__init__(opt, training)
        self.coder = network(opt.width, opt.width)

    def optimizers(self):
        return super().optimizers() | {"coder": torch.optim.SGD(self.coder.parameters(), 1e-2, momentum=0.9)}

    def training_step(self, batch, clock):
        x, y = batch["x"].flatten(1), batch["y"].flatten(1)
        fake = self.generator(self.coder(x))
        yield (
            ("gen", "coder"),
            {
                "l1": (fake - y).abs().mean() + self.spoil(clock),
                "gan": 0.1 * (1 - self.critic(fake)).square().mean(),
            },
        )
        fake = fake.detach()
        yield "dis", {"hinge": ((1 - self.critic(y)).square() + self.critic(fake).square()).mean()}
        return {"made": fake.view(-1, 1, 2, 3)}

    def by_hand(self, batches):
        optimizers = self.optimizers()
        for batch in batches:
            x, y = batch["x"].flatten(1), batch["y"].flatten(1)
            fake = self.generator(self.coder(x))
            loss = (fake - y).abs().mean() + 0.1 * (1 - self.critic(fake)).square().mean()
            loss.backward()
            optimizers["gen"].step()
            optimizers["coder"].step()
            self.zero_grad()
            loss = ((1 - self.critic(y)).square() + self.critic(fake.detach()).square()).mean()
            loss.backward()
            optimizers["dis"].step()
            self.zero_grad()


class Kept(Joint):
    """Joint with a moving average of its generator."""

    averaged = {"generator": 0.5}


class EveryNth(ToyFamily):
    """Critic with a gradient penalty every step, in two updates; generator every third (as GANimation)."""

    not_compiled = ("critic",)

    def penalty(self, x):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(x).sum(), x, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    def training_step(self, batch, clock):
        x, y = batch["x"].flatten(1), batch["y"].flatten(1)
        with torch.no_grad():
            fake = self.generator(x)
        yield "dis", {"critic": self.critic(fake).mean() - self.critic(y).mean()}
        yield "dis", {"penalty": self.penalty(0.5 * (fake + y))}
        if clock.step % 3 == 0:
            yield "gen", {"gen": -self.critic(self.generator(x)).mean() + self.spoil(clock)}

    def by_hand(self, batches):
        optimizers = self.optimizers()
        for step, batch in enumerate(batches):
            x, y = batch["x"].flatten(1), batch["y"].flatten(1)
            fake = self.generator(x).detach()
            for loss in (
                lambda fake=fake, y=y: self.critic(fake).mean() - self.critic(y).mean(),
                lambda fake=fake, y=y: self.penalty(0.5 * (fake + y)),
            ):
                self.zero_grad()
                loss().backward()
                optimizers["dis"].step()
            if step % 3 == 0:
                self.zero_grad()
                (-self.critic(self.generator(x)).mean()).backward()
                optimizers["gen"].step()


class TwiceCritic(ToyFamily):
    """Generator, then the critic twice on the same fake; gradients clipped (as few-shot talking heads)."""

    def before_update(self, names):
        if "gen" in names:
            nn.utils.clip_grad_norm_(self.generator.parameters(), 0.05)

    def rate(self, name, clock):
        return 0.5 if clock.step >= 2 else 1.0

    def training_step(self, batch, clock):
        x, y = batch["x"].flatten(1), batch["y"].flatten(1)
        fake = self.generator(x)
        yield "gen", {"l2": (fake - y).square().mean() + self.spoil(clock), "gan": -self.critic(fake).mean()}
        for _ in range(2):
            yield "dis", {"hinge": (1 + self.critic(fake.detach())).relu().mean() + (1 - self.critic(y)).relu().mean()}

    def by_hand(self, batches):
        optimizers = self.optimizers()
        for step, batch in enumerate(batches):
            for optimizer in optimizers.values():
                optimizer.param_groups[0]["lr"] = 1e-2 * (0.5 if step >= 2 else 1.0)
            x, y = batch["x"].flatten(1), batch["y"].flatten(1)
            fake = self.generator(x)
            ((fake - y).square().mean() - self.critic(fake).mean()).backward()
            nn.utils.clip_grad_norm_(self.generator.parameters(), 0.05)
            optimizers["gen"].step()
            for _ in range(2):
                self.zero_grad()
                loss = (1 + self.critic(fake.detach())).relu().mean() + (1 - self.critic(y)).relu().mean()
                loss.backward()
                optimizers["dis"].step()
            self.zero_grad()


class Chunks(ToyFamily):
    """A clip in chunks: critic then generator on each, the last result carried over (as edge-guided animation)."""

    def training_step(self, batch, clock):
        previous = batch["x"].flatten(1)
        for chunk in (batch["y"].flatten(1), batch["z"].flatten(1)):
            fake = self.generator(previous)
            yield "dis", {"dis": (self.critic(fake.detach()) - self.critic(chunk)).tanh().mean()}
            yield "gen", {"l1": (fake - chunk).abs().mean() + self.spoil(clock), "gan": -self.critic(fake).mean()}
            previous = fake.detach()

    def by_hand(self, batches):
        optimizers = self.optimizers()
        for batch in batches:
            previous = batch["x"].flatten(1)
            for chunk in (batch["y"].flatten(1), batch["z"].flatten(1)):
                self.zero_grad()
                fake = self.generator(previous)
                (self.critic(fake.detach()) - self.critic(chunk)).tanh().mean().backward()
                optimizers["dis"].step()
                self.zero_grad()
                ((fake - chunk).abs().mean() - self.critic(fake).mean()).backward()
                optimizers["gen"].step()
                previous = fake.detach()


class Repeater(Family):
    """Begins as small models for minutes do: with the source, until it has learned something."""

    layout = Layout("{which}-checkpoint.pth.tar", {"generator": "generator"})

    def __init__(self, opt, training):
        super().__init__(opt, training)
        self.generator = nn.Conv2d(3, 3, 1)
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)

    def optimizers(self):
        return {"generator": torch.optim.Adam(self.generator.parameters(), 1e-3)}

    def training_step(self, batch, clock):
        source, driving = batch["source"], batch["driving"]
        made = source + self.generator(driving - source)
        yield "generator", {"l1": (made - driving).abs().mean()}


TOYS = (Joint, EveryNth, TwiceCritic, Chunks)


class ToyData(Dataset):
    """x, y, z: (1, 2, 3) pictures of the index, with a random part; the sample `--bad_sample` is damaged."""

    @staticmethod
    def add_options(parser, training):
        parser.add_argument("--samples", type=integer, default=20, help="size of the dataset")
        parser.add_argument("--bad_sample", type=integer, default=-1, help="a sample that can't be read")
        parser.add_argument("--killing_sample", type=integer, default=-1, help="a sample too large for its process")

    def __init__(self, opt, training):
        self.samples, self.bad_sample = opt.samples, opt.bad_sample
        self.killing_sample = getattr(opt, "killing_sample", -1)

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        if index == self.bad_sample:
            raise UserError(f"faces/{index}.png: damaged")
        if index == self.killing_sample and torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.sin(torch.arange(6.0) * (index + 1)).view(1, 2, 3)
        return {"x": x, "y": x.flip(2) + 0.1 * torch.rand(1), "z": 0.5 * x}

    def jobs(self):
        from fractions import Fraction

        driving = ({"x": self[index]["x"]} for index in range(11))
        clip = Clip("toy", {"x": self[0]["x"]}, driving, Fraction(25), length=11)
        yield Job("toy", lambda: clip)


class Killed(BaseException):
    """The end of a process at a moment that a test chooses."""


def kill_at_training_state(content, path, save=torch.save):
    """Replaces torch.save: kills the process when a training state is written but not yet named."""
    save(content, path)
    if "clock" in content:
        raise Killed
