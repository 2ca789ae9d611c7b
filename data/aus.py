"""Dataset mode `aus`: pictures of faces with the intensities of their action units, in GANimation's layout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.base import Dataset, Job, Preview, as_tensor
from data.expressions.annotations import read_annotations
from data.expressions.clips import ExpressionClips, ExpressionSettings, condition
from data.expressions.faces import FaceFinder
from data.expressions.options import add_expression_options, add_face_option
from data.faces.crop import resize
from data.faces.landmarks import detector_settings
from data.video.images import IMAGE_SUFFIXES, list_images, read_image
from util.errors import UserError
from util.expressions import STRONGEST, find_unit, units_for
from util.reading import read_text
from util.settings import settings_of
from util.values import list_of, share, text

if TYPE_CHECKING:
    from torch import Tensor


class ActionUnitsDataset(Dataset):
    """Pictures (imgs/), intensities by picture (aus_openface.pkl, .npz or .csv), lists of both parts.

    A training item holds `image` (3, S, S), its units `aus` and wanted ones, `desired`, both (C,) and divided by 5:
    those of another picture with a little noise. Sources hold `image`; driving items `aus` and what to show (`view`).
    """

    of_pairs = ()  # pictures of --input_path are cut and pasted back in ways of their own

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        whole, parser = (
            parser,
            parser.add_argument_group("pictures and units", example="--units AU01,AU12 --face_crop box"),
        )
        add = parser.add_argument
        parser.add_alias("--data_dir", "--dataroot")
        parser.add_alias("--n_threads_test", "--nThreads")
        add(
            "--train_ids_file", type=text, default="train_ids.csv",
            help="list of training pictures, in the data folder", advanced=True,
        )  # fmt: skip
        add(
            "--test_ids_file", type=text, default="test_ids.csv", help="list of test pictures, in the data folder",
            advanced=True,
        )  # fmt: skip
        add(
            "--images_folder", type=text, default="imgs", help="folder of all pictures, in the data folder",
            advanced=True,
        )  # fmt: skip
        add("--aus_file", type=text, default="aus_openface.pkl", help="their units: .pkl, .npz or .csv")
        add("--units", type=list_of(text), default=[],
            help="names of the units in their order, e.g. AU01,AU12, where there are neither 17 nor 11")  # fmt: skip
        add_face_option(parser)
        parser.set_defaults(dataroot="dataset/sample/aus")
        if training:
            parser.add_switch(
                "--serial_batches", default=True,
                help="every picture once an epoch; no: draw with replacement, as the original", advanced=True,
            )  # fmt: skip
            parser.add_switch("--mirror", default=True, help="mirror half of the pictures; not for one-sided units")
            add("--aus_noise", type=share, default=0.1, help="wanted units vary by up to this, of 1")
        else:
            add_expression_options(whole)

    def __init__(self, opt: Any, training: bool):
        self.opt, self.training = opt, training
        self.units = units_for(opt.cond_nc, opt.units)
        if training and len(self.pictures) < opt.batch_size:
            raise UserError(
                f"--batch_size {opt.batch_size}: {opt.dataroot} has only {len(self.pictures)} training pictures; use "
                f"--batch_size={len(self.pictures)} or less, or add pictures"
            )

    @cached_property
    def entries(self) -> tuple[list[Path], np.ndarray]:
        """The pictures of the split and their intensities, read at first use: the user's own pictures need none."""
        opt = self.opt
        return find_pictures(
            Path(opt.dataroot), opt.train_ids_file if self.training else opt.test_ids_file, images=opt.images_folder,
            annotations=read_annotations(Path(opt.dataroot) / opt.aus_file, self.units),
        )  # fmt: skip

    @property
    def pictures(self) -> list[Path]:
        """The pictures of the split."""
        return self.entries[0]

    @property
    def aus(self) -> np.ndarray:
        """Their intensities."""
        return self.entries[1]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self._draw_picture(index)
        image = self._image(read_image(self.pictures[index]))
        if self.opt.mirror and np.random.rand() < 0.5:
            image = image.flip(-1)
        noise = np.random.uniform(-self.opt.aus_noise, self.opt.aus_noise, len(self.units))
        desired = self.aus[np.random.randint(len(self.pictures))] / STRONGEST + noise
        return {
            "image": image,
            "aus": condition(self.aus[index]),
            "desired": as_tensor(desired.astype(np.float32)),
            "name": self.pictures[index].stem,
        }

    def _draw_picture(self, index: int) -> int:
        return index if self.opt.serial_batches else np.random.randint(len(self.pictures))

    def sample_name(self, index: int) -> str:
        return str(self.pictures[self._draw_picture(index)])

    def jobs(self) -> Iterator[Job]:
        """The pictures of --input_path, or else the test split, with the expressions that the options describe."""
        pictures, aus = ([], np.zeros((0, len(self.units)))) if self.opt.input_path else self.entries
        for clip in self.expression_clips().clips(pictures, aus):
            yield Job(clip.name, lambda clip=clip: clip, clip.output)

    def expression_clips(self) -> ExpressionClips:
        """What makes the clips."""
        opt = self.opt
        faces = FaceFinder(
            opt.image_size, detector_settings(opt),
            face_crop=opt.face_crop, which="all" if opt.all_faces else opt.face, whole=opt.whole_picture,
        )  # fmt: skip
        return ExpressionClips(settings_of(ExpressionSettings, opt), self.units, faces, self._image)

    def pictures_of(self, outside: bool) -> frozenset[str]:
        return frozenset({"source"})

    def source_of(self, pictures: Sequence[Any]) -> tuple[dict[str, Any], Callable | None]:
        return self.expression_clips().source(*picture_and_name(pictures[0]))

    def previews_of(self, request: Any) -> tuple[Preview | None, Preview | None]:
        if not request.sources:
            return None, None
        return self.expression_clips().faces.preview(*picture_and_name(request.sources[0])), None

    def unit_items(self, intensities: Mapping[str, float] | Sequence[float], faces: int) -> list[dict[str, Any]]:
        """The driving items that give all faces of a source these intensities (0 to 5): all, in the order of `units`,
        or some by name, e.g. {"AU12": 3}."""
        if isinstance(intensities, Mapping):
            named = {find_unit(name, self.units): value for name, value in intensities.items()}
            intensities = [named.get(index, 0.0) for index in range(len(self.units))]
        if len(intensities) != len(self.units):
            raise UserError(f"{len(intensities)} intensities: this model expects {len(self.units)} units: "
                            + ", ".join(unit.column for unit in self.units))  # fmt: skip
        wanted = condition(np.asarray(intensities, np.float32))
        return [{"aus": wanted, "face": face} for face in range(faces)]

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Any]:
        return {"image": self._image(frames[0])}

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The units of a driving video, as py-feat reads them."""
        from data.expressions.pyfeat import UnitReader

        reader = UnitReader(self.units)
        for frame in frames:
            yield {"aus": condition(self.opt.intensity * reader.read(frame))}

    @staticmethod
    def size_of(opt: Any) -> tuple[int, int]:
        return opt.image_size, opt.image_size

    def picture_size(self) -> tuple[int, int]:
        return self.size_of(self.opt)

    def _image(self, picture: np.ndarray) -> Tensor:
        size = self.picture_size()
        picture = picture if picture.shape[:2] == size else resize(picture, size)
        return as_tensor(picture.transpose(2, 0, 1)).float() / 255


def picture_and_name(source: Any) -> tuple[np.ndarray, Path]:
    """A picture from its path, or as it is given."""
    return (read_image(source), source) if isinstance(source, Path) else (source, Path("picture"))


def find_pictures(
    root: Path, ids_file: str, *, images: str, annotations: dict[str, np.ndarray]
) -> tuple[list[Path], np.ndarray]:
    """The pictures of a list and their intensities (N, C); warns of names without a picture or intensities."""
    names = read_ids(root / ids_file)
    folder = root / images
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pictures; set --images_folder")
    files = {path.stem: path for path in reversed(list_images(folder))}
    missing = [name for name in names if name not in files]
    unknown = [name for name in names if name in files and name not in annotations]
    for kind, left_out in ((f"no picture in {folder}", missing), ("no action units", unknown)):
        if left_out:
            warnings.warn(
                f"{root / ids_file}: skipped {len(left_out)} of {len(names)} names with {kind}: "
                + ", ".join(left_out[:10]) + (" ..." if len(left_out) > 10 else ""),
                stacklevel=3,
            )  # fmt: skip
    kept = [name for name in names if name in files and name in annotations]
    if not kept:
        raise UserError(f"{root / ids_file}: none of its {len(names)} names has a picture and action units")
    return [files[name] for name in kept], np.array([annotations[name] for name in kept], np.float32)


def read_ids(path: Path) -> list[str]:
    """The names of a list, one a line (in the first column), without the suffixes of pictures."""
    if not path.is_file():
        raise UserError(f"{path}: no such list of pictures; it needs one file name per line")
    lines = read_text(path, "not a list of pictures with one file name per line").splitlines()
    names = [line.split("\t")[0].strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path}: empty; it needs one file name per line")
    return [Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name for name in names]
