"""The log line of an epoch in the form of the first-order projects."""

from collections.abc import Mapping


def epoch_line(epoch: int, averages: Mapping[str, float]) -> str:
    """For example "00000012) perceptual - 90.81173; equivariance_value - 0.18745"."""
    return f"{epoch:08d}) " + "; ".join(f"{name} - {value:.5f}" for name, value in averages.items())
