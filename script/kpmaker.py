"""Detect the 18 points of the facial prior in every clip of a dataset: one set per clip, from its first frame.

Reads the clips of <in>/train and <in>/test (or of <in> itself): folders of frames, videos, packed clips. Writes
<in>/keypoint_folder/<clip>.pt, a float32 tensor 18 x 2 with x and y in pixels, which `--model fomm_prior` reads.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.micro.prior_points import SEARCHED, default_folder, find_points, write_points
from data.preparation import jobs
from data.preparation.items import add_gpu_option, device, existing_folder
from data.video import VIDEO_SUFFIXES, natural_key, open_video, parts_of
from data.video.images import IMAGE_SUFFIXES, write_image
from data.video.packed import SUFFIX
from util.errors import UserError, run_main
from util.values import count
from util.visualisation import draw_points

EPILOG = """examples:
  python script/kpmaker.py --in dataset/casme2                      # after script/prepare_microexpression.py
  python script/kpmaker.py --in dataset/mixed --workers 8 --preview
  python script/kpmaker.py --in data/SAMM --face last --frames 1 --default_points   # as the original's program

The points are landmarks 19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59 of the 68, and six beside 31, 35, 41, 46, 48 and
54, half the distance of the inner corners of the eyes away. Clips in which no face is found are listed with the
failures. A run that was interrupted is continued by the same command."""


@dataclass(frozen=True)
class Item:
    """A clip, and the paths of its points and preview."""

    clip: Path
    points: Path
    preview: Path


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.input, "--in", "train/ and test/ with clips, or clips")
    folder = args.keypoint_folder or default_folder(root)
    items = find_items(root, folder)
    settings = {**landmarks.detector_settings(args), "batch_size": args.batch_size}
    if args.face == "last" and args.landmarks == "file":
        raise UserError("--face last: a file of landmarks has one face per frame; remove the option")
    summary = jobs.run(
        partial(
            make_points,
            detector=settings,
            gpus=args.gpu_id,
            how={"last": args.face == "last", "default": args.default_points},
            searched=args.frames,
            preview=args.preview,
        ),
        items,
        name=lambda item: str(item.clip.relative_to(root)),
        done=lambda item: item.points.is_file() and (item.preview.is_file() or not args.preview),
        output=lambda item: (item.points, item.preview),
        title="find prior points",
        args=args,
        failures=folder / "kpmaker_failures.csv",
    )
    print(f"{summary}\npoints are in {folder}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--in", dest="input", type=Path, required=True, metavar="FOLDER", help="the dataset")
    add(
        "--keypoint_folder",
        type=Path,
        metavar="FOLDER",
        help="where the points go (default: <in>/keypoint_folder; <in>_keypoint_folder without train/ and test/)",
    )
    add(
        "--frames",
        type=count,
        default=SEARCHED,
        metavar="N",
        help="look for a face in so many frames from the first on (default: %(default)s; the original: 1)",
    )
    add(
        "--face",
        choices=("largest", "last"),
        default="largest",
        help="of several faces; last: the last that the detector lists, as the original (default: %(default)s)",
    )
    add("--default_points", action="store_true", help="where no face is found, write the original's stored points")
    add("--preview", action="store_true", help="also write previews/<clip>.jpg with the points drawn in")
    landmarks.add_detector_options(parser)
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def find_items(root: Path, folder: Path) -> list[Item]:
    """The clips of the dataset."""
    parts = parts_of(root) or [root]
    clips = [path for part in parts for path in sorted(part.iterdir(), key=lambda path: natural_key(path.name))]
    items: dict[str, Item] = {}
    for clip in filter(is_clip, clips):
        name = clip.name if clip.is_dir() else clip.stem
        if name in items:
            raise UserError(f"{items[name].clip} and {clip} would get the same points {name}.pt; rename one of them")
        items[name] = Item(clip, folder / f"{name}.pt", folder / "previews" / f"{name}.jpg")
    if not items:
        raise UserError(f"--in {root}: no clips in {', '.join(map(str, parts))}: folders of frames, videos, or .clip")
    return list(items.values())


def is_clip(path: Path) -> bool:
    """Whether this is a folder, or a file of a known kind; an empty or unreadable one fails later with its reason."""
    known = path.is_dir() or path.suffix.lower() in (SUFFIX, *VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
    return known and not path.name.startswith(".")


def make_points(
    item: Item, detector: dict, gpus: tuple[int, ...], how: dict, searched: int, preview: bool
) -> str | None:
    """Write the points of one clip; a warning if they are not from its first frame."""
    finder = jobs.once(landmarks.build_detector, **detector, device=device(gpus)).clip(item.clip.name)
    with open_video(item.clip) as video:
        points, remark = find_points(islice(video, searched), finder, name=item.clip.name, **how)
        if preview:
            write_image(item.preview, with_points(video[0], points))
    write_points(item.points, points)
    return remark


def with_points(frame, points):
    """A frame with its points drawn."""
    height, width = frame.shape[:2]
    positions = points / (width, height) * 2 - 1
    drawn = draw_points(frame[None] / 255, positions[None], max(2, height // 80))[0]
    return (255 * drawn).round().astype("uint8")


if __name__ == "__main__":
    run_main(main)
