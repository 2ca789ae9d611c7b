"""Edge-guided face animation: global flow, local attention, one frame after the other."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.face.log import report_line, reported_step
from models.face.losses import (
    GAMES,
    OF_LAYER,
    TAPS,
    Adversarial,
    Features,
    NoPerceptual,
    Perceptual,
    Regularisation,
    Warping,
)
from models.face.networks import (
    FLOW_DEPTH,
    Discriminator,
    Frame,
    Generator,
    Guides,
    flow_to_reference,
    frames,
    initialise,
    with_right_vectors,
)
from models.face.options import add_options, patch_sizes
from models.face.pictures import Shown, training_pictures
from models.face.structure import as_maps, structure_channels
from models.family import Family, Layout, ReportFormat
from models.parts.losses import NoTerms, mean_difference
from models.parts.pictures import Pictures
from models.parts.vgg import vgg19
from models.parts.warps import coordinate_grid
from util.errors import UserError
from util.schedules import Clock, every, linear_decay


class FaceAnimation(Family):
    """Animate a face by structure maps: face curves, their distances, face parts, background edges.

    Training batches hold `frames` (B, T, 3, H, W) in [0, 1] and `structures` (B, T, C, H, W), one clip of T frames per
    sample; its first frame is the reference. Animation reads `image` and `structure` of the source, `structure` of
    every driving item. Structures are bytes as the dataset packs them, or maps.
    """

    layout = Layout(
        pattern="{which}_net_{entry}.pth",
        entries={"generator": "G", "discriminator": "D", "video_discriminator": "D_V"},
    )

    tells_motion = True
    report_format = ReportFormat("loss_log.txt", report_line, reported_step)

    add_options = staticmethod(add_options)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.kernel_size = patch_sizes(opt.attn_layer, opt.kernel_size, opt.layers, max(OF_LAYER))
        self.generator = Generator(
            kernel_size=self.kernel_size,
            image_channels=opt.image_nc,
            structure_channels=structure_channels(opt.structure_nc, opt.no_dist_map),
            layers=opt.layers,
            width=opt.width,
            max_width=opt.max_width,
            flow_width=opt.flow_width,
            flow_max_width=opt.flow_max_width,
            match_colours=opt.match_colours,
            copy_pixels=opt.copy_pixels,
        )
        self.multiple = 2 ** max(opt.layers, FLOW_DEPTH)

    def prepare_training(self, opt: Any) -> None:
        if opt.max_frames_per_gpu < opt.frames_D_V:
            raise UserError(f"--frames_D_V {opt.frames_D_V}: add --max_frames_per_gpu={opt.frames_D_V}")
        initialise(self.generator, opt.init_type)
        if opt.start_with_source:
            self.generator.start_with_source()
        critic = partial(
            Discriminator,
            normalised=opt.use_spect_d,
            width=opt.discriminator_width,
            max_width=opt.discriminator_max_width,
        )
        self.discriminator = critic(opt.image_nc)
        self.video_discriminator = critic(opt.image_nc * (opt.frames_D_V - 1))
        self.adversarial = Adversarial(GAMES[opt.gan_mode], opt.frames_D_V, opt.lambda_g)
        self.perceptual = _perceptual(opt, self.kernel_size)
        self.regularisation = Regularisation(self.kernel_size, opt.lambda_regularization)
        self.warping = Warping(opt.lambda_warp) if opt.lambda_warp else NoTerms()
        self.lambda_rec, self.chunk = opt.lambda_rec, opt.max_frames_per_gpu
        self.rates = {"G": opt.lr, "D": opt.lr * opt.ratio_g2d}
        self.decay, self.counts = _decay(opt), opt.lr_counts
        self.planned_steps = opt.niter + opt.niter_decay
        # The draws of a step are those of all its micro-batches and processes: accumulation stays exact.
        self.draws = lambda step: np.random.RandomState([opt.seed, step])

    def critics(self) -> dict[str, Discriminator]:
        """The discriminators by the name of what they judge."""
        return {"gen": self.discriminator, "gen_v": self.video_discriminator}

    def convert_state(self, network: str, state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
        return with_right_vectors(state)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        critics = [parameter for critic in self.critics().values() for parameter in critic.parameters()]
        parameters = {"G": self.generator.parameters(), "D": critics}
        return {name: torch.optim.Adam(parameters[name], rate, betas=(0.0, 0.999)) for name, rate in self.rates.items()}

    def rate(self, name: str, clock: Clock) -> float:
        return self.decay(clock.epoch if self.counts == "epochs" else clock.step)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        clip, coded = 2 * batch["frames"] - 1, batch["structures"]
        self._check_size(clip)
        draws = self.draws(clock.step)
        picture, structure = clip[:, 0], as_maps(coded[:, 0])
        reference_maps = previous_maps = self.perceptual.flow_maps(picture)
        previous = None
        for real, codes in zip(clip.split(self.chunk, 1), coded.split(self.chunk, 1), strict=True):
            real, structures = real.unbind(1), as_maps(codes).unbind(1)
            reference = self.generator.encode_reference(picture, structure)
            generated = frames(self.generator, structures, previous, reference)
            fake = [frame.picture for frame in generated]
            draw = self.adversarial.draw(draws, len(real))
            detached = [frame.detach() for frame in fake]
            yield "D", self.adversarial.for_critics(self.critics(), detached, real, draw)
            draw = self.adversarial.draw(draws, len(real))
            before = picture if previous is None else previous[0]
            perceptual, previous_maps = self.perceptual(generated, real, reference_maps, previous_maps)
            yield (
                "G",
                {
                    "app_gen": self.lambda_rec * sum(map(mean_difference, fake, real)),
                    **perceptual,
                    **self.warping(generated, real, picture, before),
                    **self.regularisation(generated),
                    **self.adversarial.for_generator(self.critics(), fake, draw),
                },
            )
            previous = detached[-1], structures[-1]
        shown = _first_sample(picture, structure, real, structures, generated)
        return Pictures(partial(training_pictures, shown), rows=len(generated))

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        picture, structure = 2 * source["image"] - 1, as_maps(source["structure"])
        self._check_size(picture)
        return {"reference": self.generator.encode_reference(picture, structure), "previous": None}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        generated, state = self._follow(state, driving)
        return _pictures(generated), state

    def animate_with_motion(
        self, state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], Tensor]:
        # Of the two sources of a frame, the reference: what is painted from the frame before has a motion of its own.
        generated, state = self._follow(state, driving)
        finest = min(self.kernel_size)
        flows = [flow_to_reference(frame.guides[finest], frame.picture.shape[-2:]) for frame in generated]
        return _pictures(generated), state, as_grid(torch.cat(flows))

    def _follow(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[list[Frame], dict[str, Any]]:
        """The next frames, and the state after them."""
        structures = as_maps(driving["structure"]).split(1)
        generated = frames(self.generator, structures, state["previous"], state["reference"])
        return generated, {**state, "previous": (generated[-1].picture, structures[-1])}

    def _check_size(self, pictures: Tensor) -> None:
        height, width = pictures.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < 2 * self.multiple:
            raise UserError(
                f"pictures of {height} x {width} don't fit: sides must be multiples of {self.multiple}, at least "
                f"{2 * self.multiple}; set --load_size"
            )


def _pictures(generated: list[Frame]) -> Tensor:
    """Frames as pictures in [0, 1]."""
    return ((torch.cat([frame.picture for frame in generated]) + 1) / 2).clamp(0, 1)


def as_grid(flow: Tensor) -> Tensor:
    """A flow (B, 2, H, W) in pixels as positions (B, H, W, 2), -1 and 1 the middles of the outermost pixels."""
    height, width = flow.shape[-2:]
    steps = flow.new_tensor([2 / (width - 1), 2 / (height - 1)])
    return coordinate_grid(height, width, like=flow) + flow.movedim(1, 3) * steps


def _perceptual(opt: Any, layers: dict[int, int]) -> Perceptual | NoPerceptual:
    if opt.no_perceptual:
        return NoPerceptual()
    features = Features(vgg19(opt.vgg19, taps=tuple(TAPS), normalised=False))
    return Perceptual(features, layers, opt.lambda_content, opt.lambda_style, opt.lambda_correct)


def _decay(opt: Any) -> Callable[[int], float]:
    """The factor on the learning rates by the number of epochs or steps done."""
    if opt.lr_policy == "step":
        return partial(every, period=opt.lr_decay_iters)
    if opt.lr_policy == "exponent":
        return lambda count: 0.95**count
    return partial(linear_decay, start=opt.niter - opt.iter_count - 2, length=opt.niter_decay + 1)


def _first_sample(
    picture: Tensor, structure: Tensor, real: tuple[Tensor, ...], structures: tuple[Tensor, ...], generated: list[Frame]
) -> Shown:
    """The first sample of a chunk without its graph."""
    guides = {
        layer: Guides(
            *(torch.cat([maps[:1].detach() for maps in column]) for column in zip(*frame_guides, strict=True))
        )
        for layer in generated[0].guides
        for frame_guides in [[frame.guides[layer] for frame in generated]]
    }
    rows = (torch.cat([maps[:1].detach() for maps in column]) for column in (real, structures))
    pictures = torch.cat([frame.picture[:1].detach() for frame in generated])
    return Shown(picture[:1], structure[:1], *rows, pictures, guides)
