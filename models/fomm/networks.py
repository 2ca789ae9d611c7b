"""The networks of the first order motion model, with the entry names of the released weights.

Sections and equations are those of Siarohin et al., First Order Motion Model for Image Animation, NeurIPS 2019
(arXiv 2003.00196).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.parts.detector import HeatmapDetector
from models.parts.discriminator import ScaleDiscriminator
from models.parts.generator import WarpingGenerator
from models.parts.keypoints import KeyPoints, gaussian_maps, mean_position
from models.parts.losses import at_least_single
from models.parts.motion import Motion, MotionNetwork, motions_around, with_empty_map
from models.parts.warps import coordinate_grid, inverse_2x2, product_2x2, resize
from util.errors import UserError


class KeyPointDetector(HeatmapDetector):
    """Detect key points and, unless the motion is zero-order, the jacobian at each (section 3.1)."""

    def __init__(
        self,
        num_kp: int,
        estimate_jacobian: bool = False,
        single_jacobian_map: bool = False,
        scale_factor: float = 1,
        pad: int = 0,
        **sizes: Any,
    ):
        """`sizes`: further arguments of HeatmapDetector."""
        maps = 1 if single_jacobian_map else num_kp
        super().__init__(
            "kp", num_kp, scale_factor=scale_factor, pad=pad, num_matrices=maps * estimate_jacobian, **sizes
        )

    def forward(self, frame: Tensor) -> KeyPoints:
        # The temperature would multiply the rounding of half-precision logits by ten.
        with torch.autocast(frame.device.type, enabled=False):
            heat, jacobian = self.heatmaps(self.down(at_least_single(frame)))
            return KeyPoints(mean_position(heat), jacobian)


class DenseMotionNetwork(MotionNetwork):
    """Combine the motions around the key points into one motion per pixel (section 3.1)."""

    def __init__(self, num_kp: int, kp_variance: float = 0.01, **sizes: Any):
        """`sizes`: further arguments of MotionNetwork."""
        super().__init__(num_motions=num_kp + 1, **sizes)
        self.kp_variance = kp_variance

    def heatmaps(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        """Gaussian heatmaps H_k, driving minus source: (B, K + 1, 1, h, w), with an empty map for the background."""
        driving, source = (gaussian_maps(kp.value, size, self.kp_variance) for kp in (kp_driving, kp_source))
        return with_empty_map(driving - source)  # eq. 6

    def sparse_motions(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        """T_k(z) = s_k + J_k (z - d_k), for points s and d of source and driving frame: (B, K + 1, h, w, 2)."""
        linear = None
        if kp_driving.jacobian is not None:
            linear = product_2x2(kp_source.jacobian, inverse_2x2(kp_driving.jacobian))  # J_k, eq. 5
        motions = motions_around(kp_source.value, kp_driving.value, linear, size)  # eq. 4
        # The background does not move.
        identity = coordinate_grid(*size, like=motions).expand(len(motions), 1, -1, -1, -1)
        return torch.cat([identity, motions], dim=1)

    def forward(self, small_source: Tensor, kp_source: KeyPoints, kp_driving: KeyPoints) -> Motion:
        """`small_source` is the source picture after `down`; one source may be paired with a batch of driving
        points."""
        size = small_source.shape[-2:]
        motions = self.sparse_motions(kp_source, kp_driving, size)
        return self.combine(small_source, self.heatmaps(kp_source, kp_driving, size), motions)


class Encoded(NamedTuple):
    """Everything that the generator computes from the source picture alone."""

    source: Tensor
    features: Tensor
    small_source: Tensor | None


class Generator(WarpingGenerator):
    """Warp the features of the source picture by the motion between two sets of key points, and decode them (3.2)."""

    def __init__(self, *, dense_motion_network: DenseMotionNetwork | None, composite: bool = False, **sizes: Any):
        """Without a dense motion network nothing is warped: an auto-encoder.

        `composite`: copy the warped pixels of the source where the occlusion map is 1.
        """
        super().__init__(**sizes, dense_motion_network=dense_motion_network, exact_resize=composite)
        if composite and getattr(dense_motion_network, "occlusion", None) is None:
            raise UserError("--composite needs a dense motion network with an occlusion map: --estimate_occlusion_map")
        self.composite = composite

    def encode(self, source: Tensor) -> Encoded:
        """The part that does not depend on the driving frame."""
        motion_network = self.dense_motion_network
        small_source = None if motion_network is None else motion_network.down(source)
        return Encoded(source, self.encoder_maps(source)[-1], small_source)

    def motion(self, encoded: Encoded, kp_source: KeyPoints, kp_driving: KeyPoints) -> Motion | None:
        """The motion from the driving frame to the source."""
        if self.dense_motion_network is None:
            return None
        return self.dense_motion_network(encoded.small_source, kp_source, kp_driving)

    def decode(self, encoded: Encoded, motion: Motion | None) -> Tensor:
        """The picture (B, C, H, W) in (0, 1)."""
        features = encoded.features
        if motion is not None:
            features = self._move(features, motion)
        features = self.bottleneck(features)
        for block in self.up_blocks:
            features = block(features)
        painted = torch.sigmoid(self.final(features).float())
        if not self.composite:
            return painted
        share = resize(motion.occlusion_map, painted.shape[-2:], self.exact_resize)
        return torch.lerp(painted, self.deformed(encoded.source, motion).to(painted.dtype), share.to(painted.dtype))

    def forward(
        self, source: Tensor | Encoded, kp_source: KeyPoints, kp_driving: KeyPoints
    ) -> tuple[Tensor, Motion | None]:
        """The prediction and its motion, for a source picture or an encoded one."""
        encoded = source if isinstance(source, Encoded) else self.encode(source)
        motion = self.motion(encoded, kp_source, kp_driving)
        return self.decode(encoded, motion), motion

    def deformed(self, source: Tensor, motion: Motion) -> Tensor:
        """The warped source picture itself, for visualisation."""
        return self.warped(source, motion.deformation)

    def _move(self, features: Tensor, motion: Motion) -> Tensor:
        moved = self.warped(features, motion.deformation)  # eq. 8: the occlusion map times the warped features
        return moved if motion.occlusion_map is None else moved * resize(motion.occlusion_map, features.shape[-2:])


class Discriminator(nn.Module):
    """One discriminator per scale of the picture."""

    def __init__(
        self,
        scales: list[str],
        num_channels: int = 3,
        expansion: int = 64,
        num_blocks: int = 4,
        max_features: int = 512,
        sn: bool = False,
        num_kp: int = 0,
        kp_variance: float = 0.01,
    ):
        super().__init__()
        # Module names must not contain a dot.
        self.discs = nn.ModuleDict(
            {
                scale.replace(".", "-"): ScaleDiscriminator(
                    num_channels, expansion, num_blocks, max_features, sn, num_kp, kp_variance
                )
                for scale in scales
            }
        )

    def forward(self, pyramid: dict[str, Tensor], kp: KeyPoints) -> dict[str, tuple[list[Tensor], Tensor]]:
        """For each scale the features of the blocks and the prediction (B, 1, h, w)."""
        scales = {name.replace("-", "."): disc for name, disc in self.discs.items()}
        return {scale: disc(pyramid[scale], kp) for scale, disc in scales.items()}
