"""Cut the clips of faces out of the whole videos of VoxCeleb, by its own boxes or by a metadata csv.

--txt:      VoxCeleb's txt/<person>/<video>/<clip>.txt, one box a frame at 25 frames/s, in pixels of a video 360 high
            (VoxCeleb1) or in fractions (VoxCeleb2); one fixed square a clip, to <out>/<person>/<video>/<clip>.mp4
--metadata: the csv of the first-order project (video_id, start, end, bbox, fps, width, height, partition, and
            person_id if there is one), to <out>/<partition>/[<person>#]<video>#<start>#<end>.mp4"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder, picture_size, resize, square_around
from data.video import VideoWriter, list_videos, natural_key, open_video
from util.cells import read_dicts
from util.errors import UserError, run_main
from util.files import is_hidden_below

EPILOG = """examples:
  python script/voxceleb_crop.py --videos youtube --txt vox1/txt --out dataset/vox1
  python script/voxceleb_crop.py --videos youtube --metadata vox-metadata.csv --out dataset/vox

--videos holds the whole videos, named by their YouTube id (<id>.mp4, in folders or not). Videos that YouTube no longer
has are listed among the failures. A run that was interrupted is continued by the same command."""
TXT_RATE = Fraction(25)
PIXEL_HEIGHT = 360
# A fraction may slightly exceed 1 where a face leaves the picture; a face with fewer pixels than this is invalid.
LARGEST_FRACTION = 4.0


@dataclass(frozen=True)
class Row:
    """A line of the metadata csv."""

    name: str
    partition: str
    video: str
    start: int
    end: int
    fps: Fraction
    box: tuple[float, float, float, float]
    """(left, top, right, bottom) in fractions of the picture."""


@dataclass(frozen=True)
class Settings:
    """The settings of crops."""

    size: tuple[int | None, int]
    margin: float
    units: str
    audio: bool


def main() -> int:
    args = read_arguments()
    videos = videos_by_id(existing_folder(args.videos, "--videos", "the whole videos, <YouTube id>.mp4"))
    wanted = rows(args.metadata, args.out) if args.metadata else texts(args.txt, args.out)
    items = [(source, target, videos.get(video_id(source))) for source, target in wanted]
    summary = jobs.run(
        partial(cut, settings=Settings(args.size, args.margin, args.units, not args.silent)),
        items,
        name=lambda item: str(item[1].relative_to(args.out)),
        done=lambda item: item[1].is_file(),
        output=lambda item: item[1],
        title="cut clips",
        args=args,
        failures=args.out / "voxceleb_crop_failures.csv",
    )
    print(f"{summary}\nclips are in {args.out}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--videos", type=Path, required=True, metavar="FOLDER", help="the whole videos, <id>.mp4")
    boxes = parser.add_mutually_exclusive_group(required=True)
    boxes.add_argument("--txt", type=Path, metavar="FOLDER", help="VoxCeleb's txt/<person>/<video>/<clip>.txt")
    boxes.add_argument("--metadata", type=Path, metavar="CSV", help="the first-order project's metadata csv")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the clips go")
    parser.add_argument(
        "--size", type=picture_size, default="256x256", help="of the clips, width x height (default: %(default)s)"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.1,
        help="with --txt: widen the square around a clip's boxes by this part on each side (default: %(default)s)",
    )
    parser.add_argument(
        "--units",
        choices=("auto", "pixels", "fractions"),
        default="auto",
        help="with --txt: of the boxes; auto tells them by their size (default: %(default)s)",
    )
    parser.add_argument("--silent", action="store_true", help="leave the sound out")
    jobs.add_options(parser)
    return parser.parse_args()


def videos_by_id(folder: Path) -> dict[str, Path]:
    """The whole videos by their id."""
    videos = {path.stem: path for path in list_videos(folder)}
    if not videos:
        raise UserError(f"--videos {folder}: no videos in it")
    return videos


def texts(folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Each box file with its clip."""
    existing_folder(folder, "--txt", "<person>/<video>/<clip>.txt")
    found = [path.relative_to(folder) for path in folder.glob("*/*/*.txt") if not is_hidden_below(path, folder)]
    if not found:
        raise UserError(f"--txt {folder}: no <person>/<video>/<clip>.txt in it")
    for path in sorted(found, key=natural_key):
        yield folder / path, out / path.with_suffix(".mp4")


def rows(path: Path, out: Path) -> Iterator[tuple[Row, Path]]:
    """Each line of the csv with its clip."""
    _, lines = read_dicts(path, f"--metadata {path}")
    if not lines:
        raise UserError(f"--metadata {path}: has no lines")
    for number, line in lines:
        row = read_row(line, f"{path}, line {number}")
        yield row, out / row.partition / f"{row.name}.mp4"


def read_row(line: dict[str, str], where: str) -> Row:
    """Read one line of the csv."""
    try:
        video, start, end = line["video_id"].strip(), int(line["start"]), int(line["end"])
        width, height = float(line["width"]), float(line["height"])
        left, top, right, bottom = (float(edge) for edge in line["bbox"].split("-"))
        box = (left / width, top / height, right / width, bottom / height)
        fps = Fraction(line["fps"].strip())
        partition = line["partition"].strip()
    except KeyError as error:
        raise UserError(f"{where}: no column {error}; see --help for the required ones") from error
    except (ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(f"{where}: cannot read it: {error}") from error
    if not (start < end and left < right and top < bottom and fps > 0):
        raise UserError(f"{where}: the frames {start} to {end} or the box {line['bbox']} are empty")
    person = (line.get("person_id") or "").strip()
    odd = next((part for part in (partition, person, video) if part and part != Path(part).name), None)
    if odd is not None or not video:
        raise UserError(f"{where}: {odd or 'nothing'!r} cannot be part of a file name")
    name = f"{person}#{video}" if person else video
    return Row(f"{name}#{start:06d}#{end:06d}", partition, video, start, end, fps, box)


def video_id(source: Path | Row) -> str:
    """The id of the whole video of a clip."""
    return source.video if isinstance(source, Row) else source.parent.name


def cut(item: tuple[Path | Row, Path, Path | None], settings: Settings) -> str | None:
    """Cut one clip."""
    source, target, whole = item
    if whole is None:
        raise UserError(f"the video {video_id(source)} is not in --videos; it may no longer be on YouTube")
    if isinstance(source, Row):
        with open_video(whole) as video:
            first, last = (math.ceil(frame * video.fps / source.fps) for frame in (source.start, source.end))
            return write_clip(video, range(first, last), source.box, target, settings)
    frames, boxes = read_boxes(source)
    with open_video(whole, fps=TXT_RATE) as video:
        box = square(boxes, video.size, settings)
        return write_clip(video, range(int(frames[0]), int(frames[-1]) + 1), box, target, settings)


def read_boxes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and boxes (x, y, width, height) of one of VoxCeleb's files: after a line FRAME X Y W H."""
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    starts = [number for number, words in enumerate(lines) if words[:1] == ["FRAME"]]
    if not starts:
        raise UserError(f"{path}: no line FRAME X Y W H: not a box file of VoxCeleb, or truncated")
    try:
        table = np.array([[float(word) for word in words[:5]] for words in lines[starts[0] + 1 :] if words])
    except ValueError as error:
        raise UserError(f"{path}: cannot read the boxes: {error}") from error
    if table.ndim != 2 or table.shape[1] != 5:
        raise UserError(f"{path}: no boxes, or lines of fewer than five numbers")
    table = table[np.argsort(table[:, 0], kind="stable")]
    return table[:, 0].astype(int), table[:, 1:]


def square(boxes: np.ndarray, size: tuple[int, int], settings: Settings) -> tuple[float, float, float, float]:
    """The square around all boxes of a clip, as fractions of the picture."""
    height, width = size
    fractions = settings.units == "fractions" or (settings.units == "auto" and boxes.max() <= LARGEST_FRACTION)
    scale = np.array([width, height]) if fractions else np.full(2, height / PIXEL_HEIGHT)
    low, high = (boxes[:, :2] * scale).min(0), ((boxes[:, :2] + boxes[:, 2:]) * scale).max(0)
    left, top, side = square_around(low, high, settings.margin, size)
    return left / width, top / height, (left + side) / width, (top + side) / height


def write_clip(
    video, frames: range, box: tuple[float, float, float, float], target: Path, settings: Settings
) -> str | None:
    """Write the box of some frames of a video; a warning if the video ends earlier."""
    height, width = video.size
    left, right = (min(max(round(edge * width), 0), width) for edge in box[0::2])
    top, bottom = (min(max(round(edge * height), 0), height) for edge in box[1::2])
    there = range(frames.start, min(frames.stop, len(video)))
    if not there or right - left < 2 or bottom - top < 2:
        raise UserError(f"{video.path}: frames {frames.start} to {frames.stop} or the box {box} lie outside the video")
    audio = video.path if settings.audio and video.has_audio else None
    comment = f"cut from {video.path.name}, frames {frames.start} to {frames.stop - 1}"
    with VideoWriter(target, video.fps, audio=audio, audio_start=frames.start / video.fps, comment=comment) as writer:
        for index in there:
            writer.write(resize(video[index][top:bottom, left:right], settings.size))
    return f"the video ends after {len(there)} of {len(frames)} frames" if len(there) < len(frames) else None


if __name__ == "__main__":
    run_main(main)
