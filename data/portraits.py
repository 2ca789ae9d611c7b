"""Dataset mode `portraits`: clips of one person each, and pairs cropped and pasted back as LivePortrait does."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from data.base import Clip, Job, Preview
from data.faces.landmarks import detector_settings, track_settings
from data.faces.portrait_clips import PortraitClips, PortraitSettings
from data.faces.portrait_crop import DRIVING, SOURCE
from data.faces.portrait_driving import DrivingSettings
from data.faces.portrait_source import Cropping
from data.frames import FramesDataset
from data.video.images import is_image
from util.portrait_edits import EDITS
from util.settings import settings_of
from util.values import at_least, count, list_of, number, positive, text


class PortraitsDataset(FramesDataset):
    """Clips as in the mode `frames`.

    Sources and driving items of the user's pairs hold `image` (3, S, S) at --input_size and, if needed, `openness`
    (3,), how far left eye, right eye and lips are open. Sources with several faces stack both, and `face` in an item
    is the index of the face that it moves. With a source video each item has `source_image` and `source_openness`, and
    the source has `source_video`; `driving_picture` marks a single driving picture. Items of motion templates have
    `motion`, those of edits `edit` (util.portrait_edits).
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        FramesDataset.add_options(parser, training)
        if not training:
            _add_crops(parser)
            _add_edits(parser)
            parser.set_advanced("several", "smooth")  # --face and --smooth_motion replace them
            parser.set_defaults(crop_image=None, crop_video=None, paste_back=None, source_frame=None)

    @staticmethod
    def makes_alone(opt: Any) -> bool:
        return bool(opt.edit or opt.edit_sweep or opt.edit_grid)

    @staticmethod
    def is_still(request: Any) -> bool:
        return all(path.is_file() and is_image(path) for path in (*request.sources, request.driving))

    def pictures_of(self, outside: bool) -> frozenset[str]:
        return frozenset({"source"}) if self.makes_alone(self.opt) else super().pictures_of(outside)

    def jobs(self) -> Iterable[Job]:
        return self.portrait_clips().edits() if self.makes_alone(self.opt) else super().jobs()

    def clip_of(self, request: Any) -> Clip:
        return self.portrait_clips().clip(request)

    def source_of(self, pictures: Sequence[Any]) -> tuple[dict[str, Any], Callable | None] | None:
        if not isinstance(pictures[0], Path):
            return None
        return self.portrait_clips().still(pictures[0])

    def previews_of(self, request: Any) -> tuple[Preview | None, Preview | None]:
        return self.portrait_clips().previews(request)

    def portrait_clips(self) -> PortraitClips:
        """What makes the clips."""
        settings, cropping, driving = (
            settings_of(kind, self.opt) for kind in (PortraitSettings, Cropping, DrivingSettings)
        )
        return PortraitClips(settings, cropping, driving, detector_settings(self.opt), track_settings(self.opt))


def _add_crops(parser: Any) -> None:
    parser = parser.add_argument_group("crops", example="--crop_scale 2.5")
    add = parser.add_argument
    shift = list_of(number, "right,down", empty=False)
    add("--crop_scale", "--scale", type=positive, default=SOURCE["scale"], help="size of a source's crop, in faces")
    add(
        "--crop_shift", type=shift, default=list(SOURCE["shift"]), help="how far it is moved, in sides of it",
        advanced=True,
    )  # fmt: skip
    parser.add_switch("--crop_turn", "--flag_do_rot", default=True, help="turn it with the face", advanced=True)
    add("--driving_crop_scale", "--scale_crop_driving_video", type=positive, default=DRIVING["scale"],
        help="size of a driving video's crop", advanced=True)  # fmt: skip
    add("--driving_crop_shift", type=shift, default=list(DRIVING["shift"]), help="how far it is moved", advanced=True)
    add(
        "--source_max_dim", type=at_least(0), default=1280, help="longer side of sources at most; 0: any", advanced=True
    )
    add("--source_division", type=count, default=2, help="crop their sides to multiples of it", advanced=True)
    parser.add_alias("--flag_do_crop", "--crop_image")
    parser.add_alias("--flag_crop_driving_video", "--crop_video")
    parser.add_alias("--flag_pasteback", "--paste_back")


def _add_edits(parser: Any) -> None:
    parser = parser.add_argument_group("edits", example="--edit smile=0.8,yaw=-10")
    add = parser.add_argument
    add("--edit", type=text, default="", help=f"edit --source_image, e.g. smile=0.8,yaw=-10: {', '.join(EDITS)}")
    add("--edit_sweep", type=text, default="", help="NAME=FROM:TO:FRAMES: a video of it; several run in sequence")
    parser.add_switch("--edit_grid", help="a picture of every edit at several values")
    add(
        "--save_template", type=text, default="", help="also write the driving motion into this file, e.g. nod.npz",
        shapes_result=False,
    )  # fmt: skip
