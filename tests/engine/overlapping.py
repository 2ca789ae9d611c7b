"""Started by test_gradients.py with torchrun: trains toy families in two processes, writes the results into a
folder."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from toys import EveryNth, Joint, TwiceCritic
from trainers import batches, build, parts_of

from engine import gradients
from engine.clock import Clock
from engine.distributed import finish, start
from engine.trainer import Trainer

gradients.BUCKET = 300
WAYS = {
    "overlap": {}, "after": {"overlap": False}, "bf16": {"gradient_compression": "bf16"},
    "bf16 after": {"gradient_compression": "bf16", "overlap": False},
}  # fmt: skip
STEPS = 4


def trained(toy, processes, **how):
    """The weights after some steps of two micro-batches, and how many exchanges began before a backward pass ended."""
    trainer = Trainer(build(toy), processes, Clock(20, planned_steps=STEPS), **how)
    begun, early = [], []
    begin, end = processes.begin_sum, trainer.gradients.finish
    processes.begin_sum = lambda tensor: (begun.append(tensor.dtype), begin(tensor))[1]
    trainer.gradients.finish = lambda names: (early.append(len(begun)), end(names), begun.clear())
    for batch in batches(STEPS, size=8):
        trainer.step(parts_of(parts_of(batch, 2)[processes.rank], 2))
        trainer.clock.advance(8)
    processes.begin_sum = begin
    return {"weights": trainer.family.state_dict(), "early": sum(early)}


if __name__ == "__main__":
    group = start([-1, -1], timedelta(minutes=1))
    made = {
        toy.__name__: {way: trained(toy, group, **how) for way, how in WAYS.items()}
        for toy in (Joint, TwiceCritic, EveryNth)
    }
    torch.save(made, Path(sys.argv[1]) / f"{group.rank}.pth")
    group.wait()
    finish(group, 0)
