"""The adversarial losses of the first order motion model; the others are those of models.parts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.parts.blocks import ImagePyramid
from models.parts.keypoints import KeyPoints
from models.parts.losses import Terms, mean_difference


class Adversarial(nn.Module):
    """Least-squares GAN on several scales, with feature matching for the generator."""

    on = True

    def __init__(
        self, scales: Sequence[str], generator: float, discriminator: float, feature_matching: Sequence[float]
    ):
        super().__init__()
        self.pyramid = ImagePyramid(scales)
        self.generator = generator
        self.discriminator = discriminator
        self.feature_matching = list(feature_matching)

    def for_generator(self, discriminator: nn.Module, generated: Tensor, real: Tensor, kp: KeyPoints) -> Terms:
        """LSGAN loss of the generator, and feature matching in every block."""
        kp = kp.detach()
        judged = discriminator(self.pyramid(generated), kp)
        with torch.no_grad():
            judged_real = discriminator(self.pyramid(real), kp)
        # (1 - D(generated))^2
        gan = sum(((1 - prediction.float()) ** 2).mean() for _, prediction in judged.values())
        terms = {"gen_gan": self.generator * gan}
        if any(self.feature_matching):
            terms["feature_matching"] = sum(
                weight * mean_difference(real_map, generated_map)
                for scale, (maps, _) in judged.items()
                for weight, generated_map, real_map in zip(
                    self.feature_matching, maps, judged_real[scale][0], strict=True
                )
                if weight
            )
        return terms

    def for_discriminator(self, discriminator: nn.Module, generated: Tensor, real: Tensor, kp: KeyPoints) -> Terms:
        """LSGAN loss of the discriminator: 1 for the real frame, 0 for the generated one."""
        kp = kp.detach()
        # The generated frame first: spectral norm updates its estimate with every picture, in this order.
        judged = discriminator(self.pyramid(generated.detach()), kp)
        judged_real = discriminator(self.pyramid(real), kp)
        # (1 - D(real))^2 + D(generated)^2
        gan = sum(
            ((1 - judged_real[scale][1].float()) ** 2 + prediction.float() ** 2).mean()
            for scale, (_, prediction) in judged.items()
        )
        return {"disc_gan": self.discriminator * gan}


class NoAdversarial(nn.Module):
    """Training without a discriminator."""

    on = False

    def for_generator(self, *_) -> Terms:
        return {}
