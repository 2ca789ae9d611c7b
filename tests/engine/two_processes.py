"""What test_averages.py starts with torchrun: half of each batch in each of two processes, the results in a folder."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from test_averages import STEPS, Averaged
from trainers import batches, build, parts_of

from engine.clock import Clock
from engine.distributed import finish, start
from engine.trainer import Trainer

processes = start([-1, -1], timedelta(minutes=1))
trainer = Trainer(build(Averaged), processes, Clock(20, planned_steps=STEPS))
for batch in batches(STEPS):
    trainer.step([parts_of(batch, 2)[processes.rank]])
    trainer.clock.advance(4)
average = trainer.averages.of["generator"].values
torch.save({"weights": trainer.family.state_dict(), "average": average}, Path(sys.argv[1]) / f"{processes.rank}.pth")
processes.wait()
finish(processes, 0)
