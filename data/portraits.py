"""Dataset mode `portraits`: clips of one person each, and pairs cropped and pasted back as LivePortrait does."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.augment import flip
from data.base import Clip, Job, Preview, to_tensor
from data.faces.landmarks import detector_settings, track_settings
from data.faces.portrait_annotations import (
    MADE_BY,
    Annotations,
    FaceFacts,
    annotations_of,
    pair_tensors,
    read_annotations,
)
from data.faces.portrait_clips import PortraitClips, PortraitSettings, faces_of, with_faces
from data.faces.portrait_crop import DRIVING, SOURCE
from data.faces.portrait_driving import DrivingSettings
from data.faces.portrait_source import Cropping
from data.frames import FramesDataset, draw_frames, plain
from data.jobs.pair_list import Request, refuse_inputs, refuse_suffix
from data.video import Video
from data.video.images import is_image
from data.video.packed import PackedClip
from util.errors import UserError
from util.portrait_edits import EDITS
from util.settings import settings_of
from util.values import at_least, count, keyword_or, list_of, number, positive, restricted, text, within

MAX_CACHED = 1000
"""Files of annotations that a process keeps in memory."""
LARGEST_JITTER = 0.5
NOT_OF_EDITS = ("driving_video", "pairs", "best_frame", "find_best_frame", "save_template")
"""Options of pairs that would have no effect on edits."""
TEMPLATE = restricted(
    text, lambda name: not name or name.lower().endswith(".npz"), "a file name that ends with .npz", "FILE.npz"
)
read_once = lru_cache(MAX_CACHED)(read_annotations)


class PortraitsDataset(FramesDataset):
    """Clips as in the mode `frames`; a single picture is a clip of one frame.

    A training item holds `source`, `driving` and `name` as there. With annotations it also holds `source_landmarks`
    and `driving_landmarks` (68, 2), in [-1, 1] between the edges of the picture; `source_angles` and `driving_angles`
    (3,), pitch, yaw and roll in degrees; and of the driving frame `face_box` and `lips_box` (4,): left, top, right,
    bottom in [-1, 1].

    Sources and driving items of the user's pairs hold `image` (3, S, S) at --input_size and, if needed, `openness`
    (3,), how far left eye, right eye and lips are open. Sources with several faces stack both, and `face` in an item
    is the index of the face that it moves. With a source video each item has `source_image` and `source_openness`, and
    the source has `source_video`; `driving_picture` marks a single driving picture. Items of motion templates have
    `motion`, those of edits `edit` (util.portrait_edits).
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        FramesDataset.add_options(parser, training)
        if training:
            _add_annotations(parser)
        else:
            _add_crops(parser)
            _add_edits(parser)
            parser.set_advanced("several", "smooth")  # --face and --smooth_motion replace them
            parser.set_defaults(crop_image=None, crop_video=None, paste_back=None, source_frame=None)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.jitter = opt.crop_jitter if training else 0.0
        self.saves_motion = not training and bool(opt.save_template)
        if self.saves_motion and opt.pairs:
            raise UserError(
                f"--save_template {opt.save_template}: --pairs has several driving videos; save the motion of one with "
                f"--source_image and --driving_video"
            )
        if training and self.annotated and self.augmentation.moves_pixels:
            raise UserError(
                "--rotation_degrees, --resize_ratio, --crop_size: landmarks do not follow these; use --crop_jitter, "
                "or train without landmarks (--annotations none)"
            )

    @cached_property
    def annotations_folder(self) -> Path | None:
        """The folder of <clip>.npz for clips that are not packed; None: they have no annotations."""
        if self.opt.annotations is None:
            return Path(self.opt.dataroot) / "truth"
        return Path(self.opt.annotations) if self.opt.annotations else None

    @cached_property
    def annotated(self) -> bool:
        """Whether items have landmarks, as the first clip does."""
        if self.opt.annotations == "":
            return False
        with self.open(self.names[0]) as video:
            return self.annotations_of(self.names[0], video) is not None

    def annotations_of(self, name: str, video: Video) -> Annotations | None:
        """What is known of a clip: its own arrays, or a file of its name."""
        size, length = tuple(video.size), len(video)
        own = video.arrays if isinstance(video, PackedClip) else {}
        found = annotations_of(own, size, length, str(self.folder / name))
        if found is None and self.annotations_folder is not None:
            found = read_once(self.annotations_folder / f"{plain(name)}.npz", size, length)
        return found

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self._draw_clip(index)
        with self.open(name) as video:
            known = self._known(name, video) if self.annotated else None
            numbers, frames = draw_frames(video, 2, None if known is None else known.present)
        kind = self.augmentation.draw_flip()
        windows = [draw_window(self.jitter) for _ in numbers]
        frames = [cut_window(self.sized(frame), window) for frame, window in zip(frames, windows, strict=True)]
        item: dict[str, Any] = {"name": name}
        for key, frame in zip(("source", "driving"), self.augmentation.after_flip(flip(frames, kind)), strict=True):
            item[key] = to_tensor(frame)
        if known is not None:
            facts = [known.frame(number).seen_in(window) for number, window in zip(numbers, windows, strict=True)]
            item |= pair_tensors(*flipped(facts, kind))
        return item

    def _known(self, name: str, video: Video) -> Annotations:
        found = self.annotations_of(name, video)
        if found is None:
            raise UserError(
                f"{self.folder / name}: has no landmarks, unlike other clips; {MADE_BY}. Set --annotations to a "
                f"folder of <clip>.npz, or to none to train without them"
            )
        return found

    @staticmethod
    def makes_alone(opt: Any) -> bool:
        return bool(opt.edit or opt.edit_sweep or opt.edit_grid)

    @staticmethod
    def is_still(request: Any) -> bool:
        return all(path.is_file() and is_image(path) for path in (*request.sources, request.driving))

    def pictures_of(self, outside: bool) -> frozenset[str]:
        return frozenset({"source"}) if self.makes_alone(self.opt) else super().pictures_of(outside)

    def jobs(self) -> Iterable[Job]:
        alone = self.makes_alone(self.opt)
        unused = [f"--{name}" for name in (NOT_OF_EDITS if alone else ("save_template",)) if getattr(self.opt, name)]
        if unused:
            what = "edits have no driving video" if alone else "only for pairs, not for the test split"
            raise UserError(f"{', '.join(unused)}: {what}; remove {'it' if len(unused) == 1 else 'them'}")
        return self._edits() if alone else super().jobs()

    def _edits(self) -> list[Job]:
        jobs, pictures = self.portrait_clips().edits(), map(Path, self.opt.source_image)
        given = [Request((path,), path) for path in pictures]
        for job in jobs:
            refuse_suffix(job.output)
            refuse_inputs(job.output, given)
        return jobs

    def clip_of(self, request: Any) -> Clip:
        return self.portrait_clips().clip(request)

    def source_of(self, pictures: Sequence[Any]) -> tuple[dict[str, Any], Callable | None] | None:
        return self.portrait_clips().still(pictures[0])

    def driven_clip(self, driving: Path, source: dict[str, Any], finish: Callable | None) -> Clip | None:
        return self.portrait_clips().driven(driving, source, finish)

    def driving_items(self, frames: Iterable[Any], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return with_faces(super().driving_items(frames, source), faces_of(source))

    def previews_of(self, request: Any) -> tuple[Preview | None, Preview | None]:
        return self.portrait_clips().previews(request)

    def portrait_clips(self) -> PortraitClips:
        """What makes the clips."""
        settings, cropping, driving = (
            settings_of(kind, self.opt) for kind in (PortraitSettings, Cropping, DrivingSettings)
        )
        return PortraitClips(settings, cropping, driving, detector_settings(self.opt), track_settings(self.opt))


def draw_window(jitter: float) -> np.ndarray:
    """Centre x, y and size of a window of a picture, in units of [-1, 1]; the picture itself without jitter."""
    if not jitter:
        return np.array([0.0, 0.0, 1.0])
    x, y, growth = (random.uniform(-jitter, jitter) for _ in range(3))
    return np.array([x, y, 1 + growth])


def cut_window(frame: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The window of a picture at the picture's size; beyond the edges they are repeated."""
    x, y, size = window
    if (x, y, size) == (0, 0, 1):
        return frame
    height, width = frame.shape[:2]
    # Where the window's pixels are in the picture; pixel centres are whole numbers, edges half a pixel further.
    left, top = ((1 + middle - size) * side / 2 + (size - 1) / 2 for middle, side in ((x, width), (y, height)))
    matrix = np.array([[size, 0, left], [0, size, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def flipped(facts: Sequence[FaceFacts], kind: str | None) -> list[FaceFacts]:
    """What is known of frames under the flip of `data.augment.flip`."""
    if kind == "time":
        return list(facts[::-1])
    return [fact.mirrored() for fact in facts] if kind == "mirror" else list(facts)


def _add_annotations(parser: Any) -> None:
    parser = parser.add_argument_group("portraits", example="--crop_jitter 0.05")
    parser.add_argument("--annotations", type=keyword_or(text, auto=None, none=""), default=None,
        help="folder of <clip>.npz with landmarks (frames, 68, 2) for clips that are not packed; auto: "
        "DATAROOT/truth; none: no landmarks, whatever there is", advanced=True)  # fmt: skip
    parser.add_argument("--crop_jitter", type=within(0, LARGEST_JITTER), default=0.0,
        help="cut each frame by a window of its own, shifted and scaled by up to this share, as a crop that follows a "
        "face: shoulders and background move, too")  # fmt: skip


def _add_crops(parser: Any) -> None:
    parser = parser.add_argument_group("crops", example="--crop_scale 2.5")
    add = parser.add_argument
    add("--portrait_landmarks", type=text, default="", advanced=True,
        help="the authors' landmark.onnx: crops and openness by its 203 landmarks; needs onnxruntime")  # fmt: skip
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
    add("--save_template", type=TEMPLATE, default="", help="also write the driving motion into this file, e.g. nod.npz",
        shapes_result=False)  # fmt: skip
