"""Extract a few frames of every clip of VoxCeleb2: <person>/<video>/<clip>.mp4 to
<person>/<video>/<clip>/<frame>.jpg."""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder
from data.video import frames_at, list_videos, open_video, thin
from data.video.images import save_image
from util.errors import UserError, run_main
from util.files import replacing_folder
from util.values import count

EPILOG = """example:
  python script/voxceleb_extract_frames.py --in vox2/dev/mp4 --out vox2/frames --frames 20

The frames lie evenly between the first and the last of the clip, and are named by their number in it. Next step:
  python script/voxceleb_sample_frames.py --in vox2/frames --out dataset/voxceleb2 --frames 20
A run that was interrupted is continued by the same command."""


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.input, "--in", "<person>/<video>/<clip>.mp4")
    out = args.out or root
    clips = [path.relative_to(root) for path in list_videos(root)]
    if not clips:
        raise UserError(f"--in {root}: no videos in it; expected <person>/<video>/<clip>.mp4")
    summary = jobs.run(
        partial(extract, root=root, out=out, count=args.frames),
        clips,
        done=lambda clip: (out / clip.with_suffix("")).is_dir(),
        output=lambda clip: out / clip.with_suffix(""),
        title="extract frames",
        args=args,
        failures=out / "voxceleb_extract_frames_failures.csv",
    )
    print(f"{summary}\nframes are in {out}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--in", dest="input", type=Path, required=True, metavar="FOLDER", help="root of <person>/<video>/<clip>.mp4"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the frames go (default: beside the clips)")
    parser.add_argument(
        "--frames",
        type=count,
        default=20,
        metavar="K",
        help="frames of each clip; all if it has no more (default: %(default)s)",
    )
    jobs.add_options(parser)
    return parser.parse_args()


def extract(clip: Path, root: Path, out: Path, count: int) -> None:
    """Write the selected frames of one clip."""
    with open_video(root / clip) as video, replacing_folder(out / clip.with_suffix("")) as folder:
        chosen = thin(len(video), count)
        for index, frame in zip(chosen, frames_at(video, chosen), strict=False):
            save_image(folder / f"{index}.jpg", frame)


if __name__ == "__main__":
    run_main(main)
