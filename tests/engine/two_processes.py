"""Started by test_averages.py with torchrun: half of each batch in each of two processes, the results in a folder."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from averaged import STEPS, Averaged, Reports, monitor_of
from trainers import batches, build, parts_of

from engine.clock import Clock
from engine.distributed import finish, start
from engine.trainer import Trainer

processes = start([-1, -1], timedelta(minutes=1))
trainer = Trainer(build(Averaged), processes, Clock(20, planned_steps=STEPS))
reports = Reports()
monitor = monitor_of(trainer, reports, processes)
for batch in batches(STEPS):
    losses, visuals = trainer.step([parts_of(batch, 2)[processes.rank]])
    trainer.clock.advance(4)
    monitor.record(trainer.clock, losses, visuals)
average = trainer.averages.of["generator"].values
results = {"weights": trainer.family.state_dict(), "average": average, "reports": reports.entries}
torch.save(results, Path(sys.argv[1]) / f"{processes.rank}.pth")
processes.wait()
finish(processes, 0)
