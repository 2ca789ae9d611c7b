"""Arithmetic of the networks: fp32, tf32, bf16, fp16."""

import torch
from torch.amp import GradScaler


class Precision:
    """Implements --precision: an autocast context for forward passes and, for fp16, a gradient scaler."""

    def __init__(self, name: str, device: torch.device):
        self.name, self.device = name, device
        self.type = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
        self.scaler = GradScaler(device.type, enabled=name == "fp16")
        if device.type == "cuda":
            allowed = name != "fp32"
            torch.backends.cuda.matmul.allow_tf32 = allowed
            torch.backends.cudnn.allow_tf32 = allowed

    def autocast(self) -> torch.autocast:
        """The autocast context of forward passes."""
        return torch.autocast(self.device.type, dtype=self.type, enabled=self.type is not None)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Step an optimizer; returns whether it was updated: fp16 skips updates whose gradients overflowed."""
        if not self.scaler.is_enabled():
            optimizer.step()
            return True
        worked: list[bool] = []
        # Fused optimizers are called in any case, and check `found_inf` themselves.
        hook = optimizer.register_step_post_hook(
            lambda stepped, *_: worked.append(not bool(getattr(stepped, "found_inf", False)))
        )
        self.scaler.step(optimizer)
        hook.remove()
        return any(worked)
