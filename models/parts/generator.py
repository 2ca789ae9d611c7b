"""The layers of generators around the warp: encoder, residual blocks, decoder."""

from torch import Tensor, nn

from models.parts.blocks import DownBlock, ResidualBlock, SameBlock, UpBlock
from models.parts.warps import resize_grid, warp


class WarpingGenerator(nn.Module):
    """Encoder, residual blocks and decoder, with the entry names of the released weights."""

    def __init__(
        self,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        align_corners: bool = True,
        exact_resize: bool = False,
        **motion_network: nn.Module | None,
    ):
        """The motion network, under its own name, comes before the layers, as in the released weights.

        `exact_resize`: resize flows so that zero motion stays zero, unlike in the training of the released weights;
        requires `align_corners`.
        """
        super().__init__()
        self.exact_resize = exact_resize and align_corners
        self.align_corners = align_corners
        for name, network in motion_network.items():
            setattr(self, name, network)
        widths = [min(max_features, expansion * 2**i) for i in range(num_down_blocks + 1)]
        self.first = SameBlock(num_channels, expansion, kernel_size=7, padding=3)
        self.down_blocks = nn.ModuleList(DownBlock(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.up_blocks = nn.ModuleList(UpBlock(*pair) for pair in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.bottleneck = nn.Sequential()
        for i in range(num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{i}", ResidualBlock(widths[-1]))
        self.final = nn.Conv2d(expansion, num_channels, 7, padding=3)

    def encoder_maps(self, source: Tensor) -> list[Tensor]:
        """The features of a picture at every size, largest first."""
        maps = [self.first(source)]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps

    def warped(self, maps: Tensor, flow: Tensor) -> Tensor:
        """Warp maps of any size by a flow (B, h, w, 2), resized to their size."""
        return warp(maps, resize_grid(flow, maps.shape[-2:], self.exact_resize), self.align_corners)
