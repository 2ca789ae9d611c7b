"""Thin each video of VoxCeleb to a number of frames: <person>/<video>/<clip>/<frame> to <person>/<video>/<clip>_<frame>

VoxCeleb1's archive of dense frames has one level more, <person>/1.6/<video>/<clip>/<frame>, which is left out."""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder, subfolders
from data.video import thin
from data.video.images import list_images
from util.errors import UserError, run_main
from util.files import replacing_folder
from util.values import count

EPILOG = """examples:
  # VoxCeleb1, frames at one a second (dense-face-frames.tar.gz)
  python script/voxceleb_sample_frames.py --in unzippedIntervalFaces/data --out dataset/voxceleb1
  # VoxCeleb2, after script/voxceleb_extract_frames.py
  python script/voxceleb_sample_frames.py --in vox2/frames --out dataset/voxceleb2 --frames 20

All clips of a video are put together, in order, and the frames lie evenly between the first and the last. Next step:
  python script/extract_landmarks.py --root dataset/voxceleb1
A run that was interrupted is continued by the same command."""
ARCHIVE_LEVEL = "1.6"


def main() -> int:
    args = read_arguments()
    videos = find_videos(existing_folder(args.input, "--in", "<person>/<video>/<clip>/<frame>"))
    if not videos:
        raise UserError(f"--in {args.input}: no folders <person>/<video> in it")
    if args.out.resolve() == args.input.resolve():
        raise UserError("--out equals --in: choose another folder for the thinned videos")
    summary = jobs.run(
        partial(sample, count=args.frames, out=args.out),
        videos,
        name=lambda video: str(video[0]),
        done=lambda video: output(args.out, video).is_dir(),
        output=lambda video: output(args.out, video),
        title="sample frames",
        args=args,
        failures=args.out / "voxceleb_sample_frames_failures.csv",
    )
    print(f"{summary}\nframes are in {args.out}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--in", dest="input", type=Path, required=True, metavar="FOLDER", help="root of <person>/<video>/<clip>/<frame>"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the chosen frames are copied")
    parser.add_argument(
        "--frames",
        type=count,
        default=50,
        metavar="N",
        help="frames of each video; all if it has no more. 50 for VoxCeleb1, 20 for VoxCeleb2 (default: %(default)s)",
    )
    jobs.add_options(parser)
    return parser.parse_args()


def find_videos(root: Path) -> list[tuple[Path, str]]:
    """Each video's folder and its person."""
    videos = []
    for person in subfolders(root):
        for video in subfolders(person):
            found = subfolders(video) if video.name == ARCHIVE_LEVEL else [video]
            videos.extend((folder, person.name) for folder in found)
    return videos


def output(out: Path, video: tuple[Path, str]) -> Path:
    """The folder of a video's frames."""
    folder, person = video
    return out / person / folder.name


def sample(video: tuple[Path, str], count: int, out: Path) -> None:
    """Copy the selected frames of one video."""
    folder, _ = video
    frames = [frame for clip in subfolders(folder) for frame in list_images(clip)]
    if not frames:
        raise UserError(f"{folder}: no pictures in folders of clips; expected {folder.name}/<clip>/<frame>")
    with replacing_folder(output(out, video)) as temporary:
        for index in thin(len(frames), count):
            frame = frames[index]
            shutil.copyfile(frame, temporary / f"{frame.parent.name}_{frame.name}")


if __name__ == "__main__":
    run_main(main)
