"""The conditions of fast forms that only inference can use."""

import torch
from torch import Tensor


def finished_on_cpu(x: Tensor) -> bool:
    """Whether a map is computed on the CPU, eagerly, without gradients."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
