"""The networks of edge-guided face animation, with the entry names of the released weights.

Pictures are in [-1, 1]. Layer L is the map at 1 / 2^L of the picture's side. Sections in comments are those of Ren et
al., Deep Image Spatial Transformation for Person Image Generation, CVPR 2020 (arXiv 2003.00696).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.face.sampling import attend, sample
from util.errors import UserError

FLOW_DEPTH = 5
"""Downsampling steps of the flow net; picture sides are multiples of 2 to this power."""


def activation() -> nn.Module:
    """The activation of all networks."""
    return nn.LeakyReLU(0.1)


def norm(width: int) -> nn.Module:
    """Instance norm without running statistics."""
    return nn.InstanceNorm2d(width, affine=True)


class Down(nn.Module):
    """Half the size, then a convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.model = nn.Sequential(
            norm(inputs), activation(), nn.Conv2d(inputs, outputs, 4, stride=2, padding=1),
            norm(outputs), activation(), nn.Conv2d(outputs, outputs, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Residual(nn.Module):
    """Two convolutions, added to the input."""

    def __init__(self, width: int):
        super().__init__()
        self.model = nn.Sequential(
            norm(width), activation(), nn.Conv2d(width, width, 3, padding=1),
            norm(width), activation(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class Up(nn.Module):
    """A convolution, then twice the size; added to the input at twice the size."""

    def __init__(self, inputs: int, outputs: int, hidden: int):
        super().__init__()
        twice = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
        self.model = nn.Sequential(
            norm(inputs), activation(), nn.Conv2d(inputs, hidden, 3, padding=1),
            norm(hidden), activation(), nn.ConvTranspose2d(hidden, outputs, **twice),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, **twice))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + self.shortcut(x)


class Mirrored(nn.Module):
    """Activation, then a convolution of the map continued by reflection; with `last` the picture that it shows."""

    def __init__(self, inputs: int, outputs: int, last: nn.Module | None = None):
        super().__init__()
        # Released files hold the convolution under both names.
        self.conv1 = nn.Conv2d(inputs, outputs, 3)
        self.model = nn.Sequential(activation(), nn.ReflectionPad2d(1), self.conv1, *([last] if last else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Encoder(nn.Module):
    """Halve the map `depth` times and return every result."""

    def __init__(self, inputs: int, width: int, max_width: int, depth: int):
        super().__init__()
        widths = widths_of(width, max_width, depth)
        self.block0 = Down(inputs, widths[0])
        for i in range(depth - 1):
            setattr(self, f"encoder{i}", Down(widths[i], widths[i + 1]))
        self.depth = depth

    def encode(self, x: Tensor) -> list[Tensor]:
        """The maps of layer 1, 2, ..."""
        maps = [self.block0(x)]
        for i in range(self.depth - 1):
            maps.append(getattr(self, f"encoder{i}")(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.encode(x)


def widths_of(width: int, max_width: int, depth: int) -> list[int]:
    """The widths of layer 1, 2, ..., `depth`."""
    return [min(width * 2**i, max_width) for i in range(depth)]


class Guides(NamedTuple):
    """Flows w and occlusion masks m of a layer, for the previous picture and for the reference."""

    flow_previous: Tensor
    flow_reference: Tensor
    mask_previous: Tensor
    mask_reference: Tensor


class FlowNet(Encoder):
    """Global Flow Field Estimator (section 3.1): flow and mask to both sources for each attention layer."""

    def __init__(self, inputs: int, width: int, max_width: int, attn_layer: Iterable[int]):
        super().__init__(inputs, width, max_width, FLOW_DEPTH)
        widths = widths_of(width, max_width, FLOW_DEPTH)
        self.attn_layer = tuple(attn_layer)
        self.steps = FLOW_DEPTH - min(self.attn_layer)
        for i in range(self.steps):
            layer = FLOW_DEPTH - 1 - i
            above, here = widths[layer], widths[layer - 1]
            setattr(self, f"decoder{i}", Up(above, here, hidden=here))
            setattr(self, f"jump{i}", Mirrored(here, here))
            if layer in self.attn_layer:
                setattr(self, f"output{i}", nn.Conv2d(here, 4, 3, padding=1))
                setattr(self, f"mask{i}", nn.Sequential(nn.Conv2d(here, 2, 3, padding=1), nn.Sigmoid()))

    def forward(self, x: Tensor) -> dict[int, Guides]:
        maps = self.encode(x)
        out, guides = maps[-1], {}
        for i in range(self.steps):
            layer = FLOW_DEPTH - 1 - i
            out = getattr(self, f"decoder{i}")(out) + getattr(self, f"jump{i}")(maps[layer - 1])
            if layer in self.attn_layer:
                flows, masks = getattr(self, f"output{i}")(out), getattr(self, f"mask{i}")(out)
                guides[layer] = Guides(*flows.chunk(2, 1), *masks.chunk(2, 1))
        return guides


class LocalAttention(nn.Module):
    """Local attention of the Local Neural Texture Renderer (section 3.2): a weighted mean of the sampled source patch.

    The weights are k = softmax(M(source patch, target patch)). M begins with a convolution, which commutes with
    sampling: apply it once per source to the whole map (`keys`) and sample the result at one point per position instead
    of at size x size points.
    """

    def __init__(self, width: int, size: int, hidden: int = 128):
        super().__init__()
        self.size = size
        self.fully_connect_layer = nn.Sequential(
            nn.Conv2d(2 * width, hidden, size, stride=size), activation(), nn.Conv2d(hidden, size**2, 1)
        )

    def keys(self, source: Tensor) -> Tensor:
        """Source half of the first layer: (B, hidden, H + size - 1, W + size - 1); constant beyond its border."""
        weight = self.fully_connect_layer[0].weight[:, source.shape[1] :]
        return F.conv2d(F.pad(source, [self.size - 1] * 4, mode="replicate"), weight)

    def query(self, target: Tensor) -> Tensor:
        """Target half of the first layer: (B, hidden, h, w)."""
        conv = self.fully_connect_layer[0]
        before, after = self.size // 2, (self.size - 1) // 2
        padded = F.pad(target, [before, after, before, after], mode="replicate")
        return F.conv2d(padded, conv.weight[:, : target.shape[1]], conv.bias)

    def weights(self, query: Tensor, keys: Tensor, flow: Tensor) -> Tensor:
        """The weights of each patch, row major: (B, size * size, h, w)."""
        joint = query + sample(keys, flow, offset=(self.size - 1) // 2)
        return self.fully_connect_layer[1:](joint).softmax(1)

    def forward(self, source: Tensor, keys: Tensor, target: Tensor, flow: Tensor) -> Tensor:
        return attend(source, flow, self.weights(self.query(target), keys, flow)).to(target.dtype)


class Source(NamedTuple):
    """An encoded source picture: features and attention keys of each attention layer."""

    picture: Tensor
    structure: Tensor
    features: dict[int, Tensor]
    keys: dict[int, Tensor]


class TargetNet(Encoder):
    """Generate the picture of a structure map from the features of both sources (section 3.2)."""

    def __init__(self, inputs: int, outputs: int, width: int, max_width: int, layers: int, kernel_size: dict[int, int]):
        super().__init__(inputs, width, max_width, layers)
        widths = widths_of(width, max_width, layers)
        self.attn_layer = tuple(kernel_size)
        for i in range(layers):
            layer = layers - i
            here, below = widths[layer - 1], widths[max(layer - 2, 0)]
            if layer in kernel_size:
                setattr(self, f"attn_p{i}", LocalAttention(here, kernel_size[layer]))
                setattr(self, f"attn_r{i}", LocalAttention(here, kernel_size[layer]))
            setattr(self, f"decoder{i}", nn.Sequential(_Step(here), Up(here, below, hidden=here)))
        self.outconv = Mirrored(widths[0], outputs, last=nn.Tanh())

    def attention(self, which: str, layer: int) -> LocalAttention:
        """The attention block of a layer for the previous picture ("p") or the reference ("r")."""
        return getattr(self, f"attn_{which}{self.depth - layer}")

    def keys(self, which: str, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The part of the attention blocks that depends on the source alone."""
        return {layer: self.attention(which, layer).keys(features[layer]) for layer in self.attn_layer}

    def forward(self, structure: Tensor, previous: Source, reference: Source, guides: Mapping[int, Guides]) -> Tensor:
        out = self.encode(structure)[-1]
        for layer in range(self.depth, 0, -1):
            if layer in self.attn_layer:
                out = self._blend(out, layer, previous, reference, guides[layer])
            out = getattr(self, f"decoder{self.depth - layer}")(out)
        return self.outconv(out)

    def _blend(self, out: Tensor, layer: int, previous: Source, reference: Source, guides: Guides) -> Tensor:
        """Blend by mask, (1 - m) f_t + m f_attn per source: summed, not averaged, as in the released model."""
        sources = (("p", previous, guides.flow_previous), ("r", reference, guides.flow_reference))
        found = [
            self.attention(which, layer)(source.features[layer], source.keys[layer], out, flow)
            for which, source, flow in sources
        ]
        kept = 2 - guides.mask_previous - guides.mask_reference
        return out * kept + found[0] * guides.mask_previous + found[1] * guides.mask_reference


class _Step(nn.Module):
    """A residual block with the entry name of released files."""

    def __init__(self, width: int):
        super().__init__()
        self.model = nn.Sequential(Residual(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Frame(NamedTuple):
    """A generated picture, and the flows and masks of each attention layer, coarse first."""

    picture: Tensor
    guides: dict[int, Guides]

    def flows(self, source: str) -> dict[int, Tensor]:
        """The flows to the previous picture ("p") or to the reference ("r")."""
        name = {"p": "flow_previous", "r": "flow_reference"}[source]
        return {layer: getattr(guides, name) for layer, guides in self.guides.items()}


def as_painted(picture: Tensor, reference: Tensor) -> Tensor:
    """The picture unchanged."""
    return picture


def with_colours_of(picture: Tensor, reference: Tensor) -> Tensor:
    """The picture with the reference's mean and deviation of each channel.

    The encoders normalise their input, which hides these statistics of a new person.
    """
    painted, wanted = (torch.std_mean(maps, (2, 3), keepdim=True) for maps in (picture, reference))
    return (picture - painted[1]) * (wanted[0] / (painted[0] + 1e-5)) + wanted[1]


def with_pixels_of(picture: Tensor, reference: Tensor, guides: Guides) -> Tensor:
    """Blend the picture with the reference's pixels, sampled along the flow, by the mask."""
    mask = _enlarged(guides.mask_reference, picture.shape[-2:])
    flow = flow_to_reference(guides, picture.shape[-2:])
    return torch.lerp(picture, sample(reference, flow).to(picture.dtype), mask.to(picture.dtype))


def flow_to_reference(guides: Guides, size: Sequence[int]) -> Tensor:
    """The flow to the reference in pixels of a picture of `size`, at that size: (B, 2, H, W)."""
    return _enlarged(guides.flow_reference * (size[-1] / guides.flow_reference.shape[-1]), size)


def _enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


class Generator(nn.Module):
    """Generate one frame from its structure map, a reference picture and the previous frame."""

    def __init__(
        self,
        kernel_size: Mapping[int, int],
        image_channels: int = 3,
        structure_channels: int = 16,
        layers: int = 3,
        width: int = 64,
        max_width: int = 512,
        flow_width: int = 32,
        flow_max_width: int = 256,
        match_colours: bool = False,
        copy_pixels: bool = False,
    ):
        """`kernel_size`: patch size of each attention layer."""
        super().__init__()
        self.copy_pixels = copy_pixels
        self.finish = with_colours_of if match_colours else as_painted
        self.attn_layer = sorted(kernel_size, reverse=True)
        sizes = {layer: kernel_size[layer] for layer in self.attn_layer}
        self.source_previous = Encoder(image_channels, width, max_width, layers)
        self.source_reference = Encoder(image_channels, width, max_width, layers)
        self.target = TargetNet(structure_channels, image_channels, width, max_width, layers, sizes)
        self.flow_net = FlowNet(
            3 * structure_channels + 2 * image_channels, flow_width, flow_max_width, self.attn_layer
        )

    @torch.no_grad()
    def start_with_source(self) -> None:
        """Let the untrained flows rest, and take nearly all of the picture from the reference (a logit of 3: 0.95)."""
        if not self.copy_pixels:
            raise UserError("--start_with_source needs --copy_pixels, which takes pixels from the reference")
        heads = [part for name, part in self.flow_net.named_children() if name.startswith(("output", "mask"))]
        for head in heads:
            conv = head[0] if isinstance(head, nn.Sequential) else head
            conv.weight.zero_()
            conv.bias.zero_()
        # The finest layer's mask is the last one; its channels are for the previous picture and for the reference.
        conv.bias[1] = 3.0

    def encode_reference(self, picture: Tensor, structure: Tensor) -> Source:
        """The part of the computation that depends on the reference alone."""
        return self._encode("r", self.source_reference, picture, structure)

    def _encode(self, which: str, encoder: Encoder, picture: Tensor, structure: Tensor) -> Source:
        maps = encoder(picture)
        features = {layer: maps[layer - 1] for layer in self.attn_layer}
        return Source(picture, structure, features, self.target.keys(which, features))

    def forward(self, structure: Tensor, previous: Tensor, previous_structure: Tensor, reference: Source) -> Frame:
        previous_source = self._encode("p", self.source_previous, previous, previous_structure)
        guides = self.flow_net(
            torch.cat([structure, previous, previous_structure, reference.picture, reference.structure], 1)
        )
        picture = self.finish(self.target(structure, previous_source, reference, guides), reference.picture)
        if self.copy_pixels:
            picture = with_pixels_of(picture, reference.picture, guides[min(self.attn_layer)])
        return Frame(picture, guides)


class DiscriminatorBlock(nn.Module):
    """Downsampling residual block; its shortcut averages the input."""

    def __init__(self, inputs: int, outputs: int, hidden: int, normalised: bool):
        super().__init__()
        self.model = nn.Sequential(
            activation(), _conv(normalised, inputs, hidden, 3, padding=1),
            activation(), _conv(normalised, hidden, outputs, 4, stride=2, padding=1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), _conv(normalised, inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + self.shortcut(x)


class Discriminator(nn.Module):
    """Patch discriminator of a picture or of frame differences: logits (B, 1, H / 16, W / 16)."""

    def __init__(self, inputs: int, normalised: bool = True, width: int = 32, max_width: int = 128, blocks: int = 4):
        """`normalised`: spectral norm in the blocks; the last convolution always has it."""
        super().__init__()
        widths = widths_of(width, max_width, blocks)
        self.block0 = DiscriminatorBlock(inputs, widths[0], widths[0], normalised)
        for i in range(blocks - 1):
            setattr(self, f"encoder{i}", DiscriminatorBlock(widths[i], widths[i + 1], widths[i], normalised))
        self.blocks = blocks
        self.last = activation()
        self.conv = _conv(True, widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block0(x)
        for i in range(self.blocks - 1):
            x = getattr(self, f"encoder{i}")(x)
        return self.conv(self.last(x))


def _conv(normalised: bool, *arguments: int, **settings: int) -> nn.Module:
    conv = nn.Conv2d(*arguments, **settings)
    return spectral_norm(conv) if normalised else conv


def with_right_vectors(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Convert spectral norms of the oldest form, which store the normalised weight instead of `weight_v`.

    Returns the state dict and the redundant entries that it drops.
    """
    stems = [name.removesuffix("_orig") for name in state if name.endswith("weight_orig")]
    derived = [stem for stem in stems if stem in state]
    complete = {name: value for name, value in state.items() if name not in derived}
    for stem in (stem for stem in stems if f"{stem}_v" not in state):
        vector = state[f"{stem}_orig"].flatten(1).T @ state[f"{stem}_u"]
        complete[f"{stem}_v"] = vector / vector.norm().clamp(min=1e-12)
    return complete, derived


def initialise(network: nn.Module, kind: str, gain: float = 0.02) -> None:
    """Initialise convolutions: weights by `kind`, biases with zero."""
    fillers = {
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain),
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain),
        "xavier_uniform": lambda weight: nn.init.xavier_uniform_(weight, gain=1.0),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
    }
    for module in network.modules() if kind != "none" else ():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            fillers[kind](module.weight)
            nn.init.zeros_(module.bias)


def frames(
    generator: Generator, structures: Sequence[Tensor], previous: tuple[Tensor, Tensor] | None, reference: Source
) -> list[Frame]:
    """Consecutive frames, each from the one before; the first from `previous` (picture, structure) or the reference."""
    picture, structure = previous or (reference.picture, reference.structure)
    generated = []
    for current in structures:
        generated.append(generator(current, picture, structure, reference))
        picture, structure = generated[-1].picture, current
    return generated
