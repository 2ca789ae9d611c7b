"""Parameter groups for weight decay."""

from typing import Any

from torch import nn


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: weights decay; biases, and scales and shifts of norms, do not.

    Decaying those pulls norms to zero without regularising the function. They are the parameters with one dimension.
    """
    parameters = list(network.parameters())
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
