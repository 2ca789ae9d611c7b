"""The losses of my_paper. Every term is a mean over the batch, so processes and micro-batches do not change it."""

from torch import Tensor, nn

from models.parts.losses import Terms, mean_difference


class Objective(nn.Module):
    """Perceptual distance and pixel difference between the generated and the real frame."""

    def __init__(self, *, perceptual: nn.Module, weight_l1: float):
        super().__init__()
        self.perceptual, self.weight_l1 = perceptual, weight_l1

    def forward(self, generated: Tensor, real: Tensor) -> Terms:
        """The weighted terms by name; their sum is the loss."""
        return {**self.perceptual(generated, real), "l1": self.weight_l1 * mean_difference(generated, real)}
