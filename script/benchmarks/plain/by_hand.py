"""What the engine adds to a training step: the small first order model by the engine, with an average, a schedule and a
log, beside a loop written by hand that does the same."""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.clock import Clock
from engine.distributed import Processes
from engine.monitor import Monitor
from engine.sinks import LogFile
from engine.trainer import Trainer, seed_everything
from models.fomm.family import FirstOrderMotion
from options import parse
from script.bars import report_bars
from script.benchmarks.plain.parts import smooth_pictures

CONFIG = "configs/tiny/fomm.yaml"
SIDE, BATCH = 64, 8
PLANNED, WARM_UP, DECAY = 100_000, 100, 0.999
REPORT_EVERY = 50
BAR = 1.01
SAME = 1e-5


class Hooked(FirstOrderMotion):
    """The first order motion model with everything that a family can ask of the engine."""

    averaged = {"generator": DECAY, "kp_detector": DECAY}

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        shown = yield from super().training_step(batch, clock)
        self.log("brightness", batch["source"].mean())
        return shown


def family() -> Hooked:
    """The family of the small configuration; always the same weights."""
    opt = parse([f"--config={CONFIG}", "--lr_schedule=cosine", f"--warm_up={WARM_UP}"], training=True)
    seed_everything(1)
    return Hooked.for_training(opt).to(memory_format=torch.channels_last)


def pictures() -> dict[str, Tensor]:
    """A batch of pairs."""
    source, driving = smooth_pictures(SIDE, 2 * BATCH).chunk(2)
    return {"source": source, "driving": driving}


class ByEngine:
    """Trainer and monitor, as train.py has them."""

    def __init__(self, folder: Path):
        self.clock = Clock(PLANNED * BATCH, planned_steps=PLANNED)
        device = torch.device("cpu")
        self.trainer = Trainer(family(), Processes(device), self.clock, channels_last=True, norms_every=REPORT_EVERY)
        self.monitor = Monitor(
            [LogFile(folder / "log.jsonl", 0)], steps=PLANNED, clock=self.clock, print_every=REPORT_EVERY,
            pictures_every=0, device=device, processes=self.trainer.processes, trainer=self.trainer,
        )  # fmt: skip

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step; its losses."""
        losses, visuals = self.trainer.step([batch])
        self.clock.advance(BATCH)
        self.monitor.record(self.clock, losses, visuals)
        return losses

    @property
    def average(self) -> dict[str, Tensor]:
        """That of the generator."""
        return self.trainer.averages.of["generator"].values


class ByHand:
    """The same step as somebody writes it who needs no other family, no second process and no resuming."""

    def __init__(self, folder: Path, seeded: bool = False):
        """`seeded`: draw the engine's random numbers, to compare the losses."""
        self.family, self.clock, self.seeded = family(), Clock(PLANNED * BATCH, planned_steps=PLANNED), seeded
        self.family.log_to = self.note
        self.optimizers = {name: it for name, it in self.family.optimizers().items() if name != "discriminator"}
        self.rates = {name: it.param_groups[0]["lr"] for name, it in self.optimizers.items()}
        self.networks = [self.family.generator, self.family.kp_detector]
        self.averages = [{name: v.detach().clone() for name, v in it.state_dict().items()} for it in self.networks]
        self.path, self.sums = folder / "log.txt", {}

    def note(self, name: str, value: Tensor, kind: str | None = None) -> None:
        """Add a number to the sums of the next report."""
        self.sums[name] = self.sums.get(name, 0) + value.detach()

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step; its losses."""
        if self.seeded:
            seed_everything(0, self.clock.step, 0)
        batch = {name: value.to(memory_format=torch.channels_last) for name, value in batch.items()}
        running = self.family.training_step(batch, self.clock)
        _, terms = next(running)
        sum(terms.values()).backward()
        self._update()
        next(running, None)
        self.clock.advance(BATCH)
        for name, value in terms.items():
            self.note(name, value)
        if self.clock.step % REPORT_EVERY == 0:
            with self.path.open("a") as file:
                file.write(f"{ {name: value.item() / REPORT_EVERY for name, value in self.sums.items()} }\n")
            self.sums = {}
        return terms

    def _update(self) -> None:
        done, step = min(1.0, (self.clock.step + 1) / WARM_UP), self.clock.step
        fall = (1 + math.cos(math.pi * max(0, step - WARM_UP) / (PLANNED - WARM_UP))) / 2
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.rates[name] * done * fall
            optimizer.step()
        weight = 1 - min(DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for network, average in zip(self.networks, self.averages, strict=True):
                live = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
                torch._foreach_lerp_([average[name] for name in live], list(live.values()), weight)
        self.family.zero_grad(set_to_none=True)

    @property
    def average(self) -> dict[str, Tensor]:
        """That of the generator."""
        return self.averages[0]


def run(args: argparse.Namespace) -> int:
    """Compare the numbers of both, then take turns; status 1 if the engine's step takes more than the bar."""
    with tempfile.TemporaryDirectory() as folder:
        apart = largest_difference(Path(folder))
        ratio, seconds = measured(Path(folder), args.steps)
    kept = [
        (f"losses and averages differ by {apart:.1e} relatively (bar: {SAME})", apart <= SAME),
        (f"the engine's step takes {ratio:.4f} of the hand-written one's {seconds:.3f} CPU seconds (bar: {BAR})",
         ratio <= BAR),
    ]  # fmt: skip
    return report_bars(kept)


def largest_difference(folder: Path, steps: int = 3) -> float:
    """Of losses and averages after some steps with the same random numbers."""
    ways, batch = (ByEngine(folder), ByHand(folder, seeded=True)), pictures()
    for _ in range(steps):
        one, other = (way.step(batch) for way in ways)
    pairs = [(one[name], other[name]) for name in one]
    pairs += [(value, ways[1].average[name]) for name, value in ways[0].average.items() if value.is_floating_point()]
    return max(float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-3)) for a, b in pairs)


def measured(folder: Path, rounds: int) -> tuple[float, float]:
    """Alternating steps: the median of the ratios of engine and hand, and the median seconds by hand."""
    engine, hand, batch = ByEngine(folder), ByHand(folder), pictures()
    taken: list[tuple[float, float]] = []
    for number in range(rounds + 3):
        # Whoever comes second finds other data in the caches: both are second as often.
        order = (engine, hand) if number % 2 else (hand, engine)
        seconds = {way: cpu_seconds(lambda way=way: way.step(batch)) for way in order}
        taken.append((seconds[engine], seconds[hand]))
    ratios = sorted(one / other for one, other in taken[3:])
    by_hand = sorted(other for _, other in taken[3:])
    return ratios[len(ratios) // 2], by_hand[len(by_hand) // 2]


def cpu_seconds(work: Callable[[], Any]) -> float:
    """The processor time that some work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin
