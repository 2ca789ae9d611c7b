"""Crop faces out of videos: one clip per face, with its position in the video, so that results can be pasted back."""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.preparation import jobs
from data.preparation.cut_faces import FORMATS, Output, cut_faces
from data.preparation.face_clips import METHODS, CropSettings
from data.preparation.fomm_crop import INCREASE, IOU_WITH_INITIAL
from data.preparation.items import add_gpu_option, device, named_videos
from data.video import frame_rate
from util.csv_table import write_table
from util.errors import UserError, run_main
from util.jsons import read_report
from util.values import at_least, count, integer, not_negative, share, within

EPILOG = """examples:
  # every face of every video in a folder, 256x256, and contact sheets of the crops
  python script/crop_faces.py --in videos --out dataset/mine --preview
  # as the first order motion model's data were made
  python script/crop_faces.py --in talks --out dataset/talks --method fomm
  # a crop that moves with the head, as png frames
  python script/crop_faces.py --in phone.mp4 --out crops --method follow --format png

Clips are called <video>#<first frame>#<frame after the last>, so that what stands before # tells the video. Beside each
lie its .crop.json (for data.faces.crop.paste) and its .npz (68 points in the clip's pixels, NaN where the face was not
seen).
crops.csv lists every face, kept or dropped, and why. A run that was interrupted is continued by the same command."""
SHAPES = {"margin": "fixed, follow", "increase": "fomm", "iou_with_initial": "fomm"}


def main() -> int:
    args = read_arguments()
    videos = find_videos(args.input)
    output = Output(args.out, args.size, args.format, args.quality, args.sound, args.preview)
    settings = {name: getattr(args, name) for name in (*SHAPES, "method", "min_frames", "min_size")}
    summary = jobs.run(
        partial(
            crop,
            settings=CropSettings(**settings),
            output=output,
            detector={**landmarks.detector_settings(args), "batch_size": args.batch_size},
            gpus=args.gpu_id,
            following={"fps": args.fps, "search_every": args.search_every},
        ),
        list(videos.items()),
        name=lambda item: str(item[1]),
        done=lambda item: is_done(output.report(item[0])),
        output=lambda item: output.folder / item[0],
        title="crop faces",
        args=args,
        failures=args.out / "crop_faces_failures.csv",
    )
    kept, dropped = gather(output, videos)
    print(f"{summary}\n{kept} face clips in {args.out}, {dropped} dropped; see crops.csv for the reasons")
    return summary.status


def crop(item: tuple[str, Path], settings, output, detector, gpus, following) -> str | None:
    """Crop one video; the warning gives the number of dropped faces."""
    name, path = item
    finder = jobs.once(landmarks.build_detector, **detector, device=device(gpus))
    rows = cut_faces(path, name, finder, settings, output, **following)
    reasons = [row["reason"] for row in rows if not row["kept"]]
    return f"{len(reasons)} of {len(rows)} faces dropped: {'; '.join(reasons)}" if reasons else None


def find_videos(source: Path) -> dict[str, Path]:
    """The video, or the videos of a folder, by name."""
    if source.is_file():
        return {source.stem: source}
    videos = named_videos(source) if source.is_dir() else {}
    if not videos:
        raise UserError(f"--in {source}: no video; set it to a video or a folder of videos (mp4, mov, avi, mkv, webm)")
    return videos


def is_done(report: Path) -> bool:
    """Whether a video is done and has a clip."""
    return report.is_file() and any(row["kept"] for row in load(report)["faces"])


def load(report: Path) -> dict:
    """The report on one video."""
    return read_report(report)


def gather(output: Output, videos: dict[str, Path]) -> tuple[int, int]:
    """Collect the reports of all videos in crops.csv; returns the numbers of kept and dropped faces."""
    rows = []
    for name, path in videos.items():
        if output.report(name).is_file():
            report = load(output.report(name))
            rows += [{"video": str(path), **row} for row in report["faces"]]
    if rows:
        write_table(output.folder / "crops.csv", list(rows[0]), rows)
    kept = sum(row["kept"] for row in rows)
    return kept, len(rows) - kept


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--in", dest="input", type=Path, required=True, metavar="PATH", help="a video or a folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the clips go")
    parser.add_argument("--size", type=clip_size, default="256", help="of the clips: 256, 320x240 (width x height), or "
                        "0 to keep the crop's own (default: %(default)s)")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="mp4", help="mp4, png frames, or packed (default: mp4)")
    parser.add_argument(
        "--quality", type=within(0, 100, integer), default=95, help="of mp4, 0 to 100 (default: %(default)s)"
    )
    parser.add_argument("--fps", type=frame_rate, help="bring the videos to this rate first (default: as they are)")
    parser.add_argument("--sound", action="store_true", help="keep the sound of the video (mp4)")
    parser.add_argument("--preview", action="store_true", help="write a contact sheet of each video, crops drawn in")
    add_crop_options(parser)
    landmarks.add_detector_options(parser)
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def add_crop_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the position of a crop."""
    group = parser.add_argument_group("what is cut out")
    group.add_argument(
        "--method",
        choices=METHODS,
        default="fixed",
        help="fixed: one square around all places of a face; follow: a square that moves with it; fomm: the protocol "
        "of the first order motion model (default: %(default)s)",
    )
    group.add_argument("--margin", type=not_negative, default=0.5, help="fixed, follow: room on each side, in sizes of "
                       "the face from brows to chin (default: %(default)s)")  # fmt: skip
    group.add_argument("--min_frames", type=count, help="shorter clips are dropped (default: 25; fomm: 150)")
    group.add_argument("--min_size", type=at_least(0), default=96, help="smaller crops are dropped, in pixels of the "
                       "video (default: %(default)s)")  # fmt: skip
    group.add_argument("--increase", type=not_negative, default=INCREASE, help="fomm: margin (default: %(default)s)")
    group.add_argument("--iou_with_initial", type=share, default=IOU_WITH_INITIAL, help="fomm: a face that overlaps "
                       "its first box less than this begins a new clip (default: %(default)s)")  # fmt: skip


def clip_size(text: str) -> tuple[int, int] | None:
    """Read "256", "320x240" (width x height) or "0"; an argparse type."""
    numbers = text.split("x")
    if not all(number.isdigit() for number in numbers) or len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size: use 256, 320x240 (width x height), or 0")
    width, height = int(numbers[0]), int(numbers[-1])
    return (height, width) if width and height else None


if __name__ == "__main__":
    run_main(main)
