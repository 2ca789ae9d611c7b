"""The loss terms of GANimation, with the names of the original's log.

Loss names in comments are those of Pumarola et al., GANimation: Anatomically-aware Facial Animation from a Single
Image, ECCV 2018 (arXiv 1807.09251), section "Learning the Model".
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.ganimation.networks import Composed
from models.parts.losses import Terms, mean_difference

Judged = tuple[Tensor, Tensor]
"""The discriminator's outputs: critic map and action units."""


@dataclass(frozen=True)
class Weights:
    """Weights λ of the terms, with the original's values."""

    critic: float = 1.0
    condition: float = 4000.0
    cycle: float = 10.0
    attention: float = 0.1
    penalty: float = 10.0
    smoothness: float = 1e-5


class Objective(nn.Module):
    """The weighted loss terms of discriminator and generator.

    The original divides the mean condition error by the batch size once more, and sums the total variation over the
    batch. Here both are means, with weights for the whole `batch_size`, so that micro-batches and processes add up to
    one big batch.
    """

    def __init__(self, weights: Weights, batch_size: int):
        super().__init__()
        self.weights = weights
        self.condition = weights.condition / batch_size
        self.smoothness = weights.smoothness * batch_size

    def for_discriminator(self, judged_real: Judged, judged_fake: Judged, aus: Tensor) -> Terms:
        """Image adversarial loss (WGAN critic), and conditional expression loss on real pictures."""
        return {
            "d_real": -self.weights.critic * judged_real[0].float().mean(),
            "d_cond": self.condition * condition_error(judged_real[1], aus),
            "d_fake": self.weights.critic * judged_fake[0].float().mean(),
        }

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Terms:
        """Gradient penalty of the image adversarial loss (WGAN-GP): (|grad D_I| - 1)^2 between real and fake."""
        norms = gradient_norms(discriminator, mix(real, fake, self.draw_alpha(real)))
        return {"d_gp": self.weights.penalty * (norms - 1).square().mean()}

    def draw_alpha(self, real: Tensor) -> Tensor:
        """Random interpolation weights between real and fake: (B, 1, 1, 1)."""
        return torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)

    def for_generator(
        self, judged_fake: Judged, desired: Tensor, real: Tensor, first: Composed, second: Composed
    ) -> Terms:
        """Adversarial, conditional expression, identity (cycle) and attention losses of the generator."""
        return {
            # image adversarial loss, then conditional expression loss
            "g_mskd_fake": -self.weights.critic * judged_fake[0].float().mean(),
            "g_mskd_cond": self.condition * condition_error(judged_fake[1], desired),
            # identity loss |G(G(I, y_f), y_o) - I|_1
            "g_cyc": self.weights.cycle * mean_difference(second.image, real),
            # attention loss: size of A and its total variation, as the original's code computes them
            "g_m1": self.weights.attention * first.attention.float().mean(),
            "g_m2": self.weights.attention * second.attention.float().mean(),
            "g_m1_s": self.smoothness * total_variation(first.attention),
            "g_m2_s": self.smoothness * total_variation(second.attention),
        }


def condition_error(aus: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of action units (B, C)."""
    return (aus.float() - target.float()).square().mean()


def total_variation(attention: Tensor) -> Tensor:
    """Total variation of maps (B, 1, H, W): absolute differences, summed over pixels, averaged over the batch."""
    attention = attention.float()
    down = (attention[..., 1:, :] - attention[..., :-1, :]).abs().sum()
    across = (attention[..., :, 1:] - attention[..., :, :-1]).abs().sum()
    return (down + across) / len(attention)


def mix(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Interpolate between real (alpha 1) and fake (alpha 0)."""
    return alpha * real + (1 - alpha) * fake


def gradient_norms(discriminator: nn.Module, pictures: Tensor) -> Tensor:
    """Norm (B) of the critic's gradient with respect to each picture, itself differentiable."""
    pictures = pictures.detach().requires_grad_()
    critic, _ = discriminator(pictures)
    (slope,) = torch.autograd.grad(critic.float().sum(), pictures, create_graph=True)
    return slope.float().flatten(1).norm(dim=1)
