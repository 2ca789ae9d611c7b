"""Make training and test clips of faces from a micro-expression dataset: CASME II, SAMM or SMIC-HS.

Each expression becomes a folder of PNG frames, <out>/{train,test}/<clip>/<frame number>.png, cropped to the face in its
first frame. No person is in both splits. <out>/clips.csv lists subject, emotion, action units, onset and apex.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.micro.coding_table import Sample, read_table
from data.preparation import jobs
from data.preparation.items import (
    add_gpu_option,
    device,
    existing_folder,
    picture_size,
    rate,
    resize,
    square_around,
    subfolders,
)
from data.video.images import list_images, read_image, save_image
from data.video.reader import RATE_TEXT
from util.csv_table import write_table
from util.errors import UserError, run_main
from util.files import is_hidden_below, replacing_folder

EPILOG = """examples:
  python script/prepare_microexpression.py --dataset casme2 --in CASME2-RAW --table coding.xlsx --out dataset/casme2
  python script/prepare_microexpression.py --dataset samm --in SAMM --test_subjects 6 7 9 --out dataset/samm
  python script/prepare_microexpression.py --dataset smic --in SMIC/HS --out dataset/smic --grey

What --in holds:
  casme2   sub01/EP02_01f/img46.jpg ...                and the coding table (xlsx or csv)
  samm     006/006_1_2/006_05562.jpg ...               and the coding table (xlsx or csv, preamble and all)
  smic     s1/micro/negative/s1_ne_01/image1.jpg ...   (folders HS/ and the like may lie above)
A run that was interrupted is continued by the same command."""
RATES = {"casme2": Fraction(200), "samm": Fraction(200), "smic": Fraction(100)}
CLASSES = {
    "positive": ("happiness", "positive"),
    "negative": ("anger", "contempt", "disgust", "fear", "negative", "repression", "sadness"),
    "surprise": ("surprise",),
}
COLUMNS = (
    "name", "split", "dataset", "subject", "emotion", "class", "action_units", "frames", "onset", "apex", "offset",
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """An expression to make a clip of."""

    name: str
    sample: Sample
    frames: Path | None
    target: Path = Path()

    @property
    def subject(self) -> int:
        return self.sample.subject


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.input, "--in", "the data set's folders of frames")
    clips = list(smic_clips(root) if args.dataset == "smic" else coded_clips(root, args.table))
    if not clips:
        raise UserError(f"--in {root}: no clips of {args.dataset} found; --help shows the folders expected")
    test = test_subjects(clips, args.test_subjects)
    phases = {clip.name: "test" if clip.subject in test else "train" for clip in clips}
    clips = [replace(clip, target=args.out / phases[clip.name] / clip.name) for clip in clips]
    fps = args.fps or RATES[args.dataset]
    settings = {**landmarks.detector_settings(args), "batch_size": args.batch_size}
    summary = jobs.run(
        partial(make_clip, args=picture_settings(args, fps), detector=settings, gpus=args.gpu_id),
        clips,
        name=lambda clip: clip.name,
        done=lambda clip: clip.target.is_dir(),
        output=lambda clip: clip.target,
        title=f"prepare {args.dataset}",
        args=args,
        failures=args.out / "prepare_microexpression_failures.csv",
    )
    made = [clip for clip in clips if clip.target.is_dir()]
    write_table(args.out / "clips.csv", COLUMNS, rows_of(made, args.dataset, args.all_frames))
    counts = ", ".join(
        f"{sum(clip.target.parent.name == phase for clip in made)} {phase}" for phase in ("train", "test")
    )
    print(f"{summary}\n{counts}; test subjects: {', '.join(map(str, sorted(test)))}; see {args.out / 'clips.csv'}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--dataset", choices=tuple(RATES), required=True)
    add("--in", dest="input", type=Path, required=True, metavar="FOLDER", help="the data set as its authors give it")
    add("--table", type=Path, metavar="FILE", help="its coding table (default: the only xlsx in --in or above it)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where train/, test/ and clips.csv go")
    add("--test_subjects", type=int, nargs="+", metavar="N", help="people to test on (default: every fifth)")
    add("--all_frames", action="store_true", help="keep whole recordings (default: from onset to offset)")
    add("--size", type=picture_size, default="256x256", help="of the frames, width x height (default: %(default)s)")
    add("--margin", type=float, default=0.0, help="widen the face's box by this part on each side; the first work did "
        "not (default: %(default)s)")  # fmt: skip
    add("--no_crop", action="store_true", help="keep whole pictures, for the versions that are cropped already")
    add("--grey", action="store_true", help="three equal channels, so that SAMM (grey) and the others look alike")
    add("--fps", type=rate, help="of the recordings (default: casme2 and samm 200, smic 100)")
    landmarks.add_detector_options(parser)
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def picture_settings(args: argparse.Namespace, fps: Fraction) -> dict:
    """The settings of frames, for the workers."""
    return {name: getattr(args, name) for name in ("all_frames", "size", "margin", "no_crop", "grey")} | {"fps": fps}


def smic_clips(root: Path) -> Iterator[Clip]:
    """SMIC has no table: <subject>/micro/<emotion>/<clip>, each from onset to offset."""
    for micro in sorted(path for path in root.rglob("micro") if path.is_dir() and not is_hidden_below(path, root)):
        for emotion in subfolders(micro):
            for folder in subfolders(emotion):
                yield Clip(folder.name, Sample(number(micro.parent.name), folder.name, emotion.name.lower()), folder)


def coded_clips(root: Path, table: Path | None) -> Iterator[Clip]:
    """The clips of a coding table, with their folders <subject>/<file name>."""
    folders = {}
    for folder in sorted(path for path in root.rglob("*") if path.is_dir() and not is_hidden_below(path, root)):
        if re.search(r"\d", folder.parent.name):
            folders[number(folder.parent.name), folder.name.strip().lower()] = folder
    for sample in read_table(table or find_table(root)):
        folder = folders.get((sample.subject, sample.file.lower()))
        person = folder.parent.name if folder else f"{sample.subject:02d}"
        yield Clip(sample.file if sample.file.startswith(person) else f"{person}_{sample.file}", sample, folder)


def find_table(root: Path) -> Path:
    """The coding table in the data folder."""
    for folder in (root, root.resolve().parent):
        # Names with ~$ are lock files of Excel.
        found = sorted(path for path in folder.glob("*.xlsx") if not path.name.startswith(("~$", ".")))
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"{folder}: several tables ({', '.join(path.name for path in found)}); choose one with --table"
            )
    raise UserError(f"--in {root}: no coding table (xlsx) in it or above it; set --table")


def number(name: str) -> int:
    """The number of a subject: 1 of sub01, s1 or 001."""
    match = re.search(r"\d+", name)
    if not match:
        raise UserError(f"{name}: the folder of a subject needs a number in its name, such as s01")
    return int(match[0])


def test_subjects(clips: list[Clip], chosen: list[int] | None) -> set[int]:
    """The test subjects."""
    subjects = sorted({clip.subject for clip in clips})
    test = set(chosen) if chosen else set(subjects[4::5] or subjects[1:][-1:])
    if unknown := test - set(subjects):
        raise UserError(
            f"--test_subjects {', '.join(map(str, unknown))}: no such subject; available: "
            f"{', '.join(map(str, subjects))}"
        )
    if len(subjects) > 1 and test == set(subjects):
        raise UserError("--test_subjects lists all subjects: keep some for training")
    return test


def make_clip(clip: Clip, args: dict, detector: dict, gpus: tuple[int, ...]) -> str | None:
    """Write the frames of one clip."""
    files, missing = chosen_frames(clip, args["all_frames"])
    region = slice(None), slice(None)
    if not args["no_crop"]:
        finder = jobs.once(landmarks.build_detector, **detector, device=device(gpus)).clip(clip.name)
        region = face_region(files, finder, args["margin"])
    with replacing_folder(clip.target) as folder:
        for index, file in files.items():
            frame = resize(read_image(file)[region], args["size"])
            if args["grey"]:
                frame = np.repeat((frame @ [0.299, 0.587, 0.114]).round().astype(np.uint8)[..., None], 3, axis=2)
            save_image(folder / f"{index:05d}.png", frame, text={RATE_TEXT: str(args["fps"])})
    return f"{missing} of its frames are not there" if missing else None


def chosen_frames(clip: Clip, all_frames: bool) -> tuple[dict[int, Path], int]:
    """The clip's pictures by frame number, and the number of missing ones between onset and offset."""
    sample = clip.sample
    if clip.frames is None:
        raise UserError(f"no folder {sample.file} of subject {sample.subject} in --in")
    files = {int(digits[-1]): file for file in list_images(clip.frames) if (digits := re.findall(r"\d+", file.stem))}
    if not files:
        raise UserError(f"{clip.frames}: no pictures with a number in their name")
    if all_frames or not sample.coded:
        return files, 0
    if sample.onset is None or sample.offset is None or sample.onset >= sample.offset:
        raise UserError(
            f"the table has onset {sample.onset} and offset {sample.offset}; use --all_frames to ignore them"
        )
    inside = {index: file for index, file in files.items() if sample.onset <= index <= sample.offset}
    if not inside:
        raise UserError(
            f"{clip.frames}: has frames {min(files)} to {max(files)}, none from onset {sample.onset} to offset "
            f"{sample.offset} of the table"
        )
    return inside, sample.offset - sample.onset + 1 - len(inside)


def face_region(files: dict[int, Path], finder: landmarks.Detector, margin: float) -> tuple[slice, slice]:
    """Rows and columns of the face in the first frame with a face."""
    for file in list(files.values())[:10]:
        frame = read_image(file)
        faces = finder.detect([frame])[0]
        if faces:
            low, high = faces[0].box[:2], faces[0].box[2:]
            left, top, side = (round(value) for value in square_around(low, high, margin, frame.shape[:2]))
            return slice(top, top + side), slice(left, left + side)
    raise UserError(f"no face found in its first {min(len(files), 10)} frames; --no_crop keeps whole pictures")


def rows_of(clips: list[Clip], dataset: str, all_frames: bool) -> Iterator[dict[str, object]]:
    """The table of clips; onset, apex and offset are indices into the clip's frames, from 0."""
    for clip in clips:
        numbers = [int(frame.stem) for frame in list_images(clip.target)]
        sample = clip.sample
        marks = [position(numbers, mark) for mark in (sample.onset, sample.apex, sample.offset)]
        if not sample.coded and not all_frames:
            marks = [0, "", len(numbers) - 1]
        kind = next((kind for kind, emotions in CLASSES.items() if sample.emotion in emotions), "other")
        whose = [clip.name, clip.target.parent.name, dataset, sample.subject]
        found = [*whose, sample.emotion, kind, sample.units, len(numbers), *marks]
        yield dict(zip(COLUMNS, found, strict=True))


def position(numbers: list[int], mark: int | None) -> int | str:
    """Index of a frame number among the existing ones; empty if it is missing."""
    return numbers.index(mark) if mark in numbers else ""


if __name__ == "__main__":
    run_main(main)
