"""Devices, processes, checkpoints and clocks: everything about training that is not a model."""
