"""Convert videos to folders of frames in the layout of FaceForensics: {train,test}_data/<video>/<frame>.png."""

import argparse
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder, named_videos, part_sizes, picture_size, rate, resize, split
from data.video import frames_at, open_video
from data.video.images import save_image
from data.video.reader import RATE_TEXT
from util.errors import UserError, run_main
from util.files import replacing_folder
from util.jsons import read_json
from util.reading import reading
from util.values import count

EPILOG = """examples:
  # FaceForensics++, split by its own lists (train.json, val.json, test.json)
  python script/extract_frames.py --in FaceForensics++ --splits FaceForensics++/splits
  # any folder of videos, 900 for training and 100 for testing, every second frame at 256 pixels
  python script/extract_frames.py --in videos --split 900/100 --every 2 --size 256

Faces are small in these videos: cut them out first with script/crop_faces.py and give its folder to --in. All clips
cut from one video go to one part.
A run that was interrupted is continued by the same command."""
PHASES = ("train", "val", "test")


@dataclass(frozen=True)
class Selection:
    """The selection of frames, and their size."""

    every: int
    fps: Fraction | None
    first: int
    last: int | None
    size: tuple[int | None, int] | None
    suffix: str


def main() -> int:
    args = read_arguments()
    source = find_videos(args.input, args.compression)
    videos = named_videos(source)
    if not videos:
        raise UserError(f"--in {source}: no videos in it; use mp4, mov, avi, mkv or webm")
    ids = list(dict.fromkeys(map(id_of, videos)))
    phases = phases_of_lists(args.splits, ids) if args.splits else split(ids, args.split)
    # Frames extracted earlier keep their split, even if other videos were added to the folder since.
    made = {name: phase for name in videos for phase in PHASES if target(args.out, phase, name).is_dir()}
    phases.update({id_of(name): phase for name, phase in made.items() if id_of(name) in phases})
    chosen = {name: phases[id_of(name)] for name in videos if id_of(name) in phases}
    items = [(videos[name], target(args.out, phase, name)) for name, phase in chosen.items()]
    selection = Selection(args.every, args.fps, *args.range, args.size, f".{args.format}")
    summary = jobs.run(
        partial(extract, selection=selection),
        items,
        name=lambda item: str(item[0]),
        done=lambda item: item[1].is_dir(),
        output=lambda item: item[1],
        title="extract frames",
        args=args,
        failures=args.out / "extract_frames_failures.csv",
    )
    counts = ", ".join(f"{list(chosen.values()).count(phase)} {phase}" for phase in PHASES)
    print(f"{summary}\n{len(items)} videos: {counts}; frames are in {args.out}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--in", dest="input", type=Path, required=True, metavar="FOLDER", help="folder of videos, or the root of "
        "FaceForensics++ (its original_sequences/youtube is taken)")  # fmt: skip
    add("--out", type=Path, default=Path("dataset/FaceForensics"), metavar="FOLDER",
        help="where train_data, test_data (and val_data) go (default: %(default)s)")  # fmt: skip
    add("--split", type=part_sizes, default="900/100", metavar="TRAIN/TEST", help="videos for training and test, in "
        "the order of their names; shares if there are more or fewer (default: %(default)s)")  # fmt: skip
    add("--splits", type=Path, metavar="FOLDER",
        help="instead of --split: folder of FaceForensics++'s train.json, val.json and test.json")  # fmt: skip
    add("--compression", default="c23", help="of FaceForensics++: raw, c23, c40 (default: %(default)s)")
    add("--every", type=count, default=1, metavar="K", help="keep every K-th frame (default: all)")
    add("--fps", type=rate, help="bring the videos to this rate first (default: as they are)")
    add("--range", type=frame_range, default=":", metavar="FIRST:LAST", help="keep frames from FIRST up to, not "
        "including, LAST; either may be left out (default: all)")  # fmt: skip
    add("--size", type=picture_size, help="256: the shorter side; 320x240: exactly (default: as it is)")
    add("--format", choices=("png", "jpg"), default="png", help="of the frames (default: %(default)s)")
    jobs.add_options(parser)
    return parser.parse_args()


def frame_range(text: str) -> tuple[int, int | None]:
    """Read "100:200", "100:" or ":200"; an argparse type."""
    match = re.fullmatch(r"(\d*):(\d*)", text)
    first, last = (int(match[1] or 0), int(match[2]) if match[2] else None) if match else (0, 0)
    if last is not None and last <= first:
        raise argparse.ArgumentTypeError(f"'{text}' is not FIRST:LAST, such as 100:200")
    return first, last


def find_videos(folder: Path, compression: str) -> Path:
    """The folder of videos: the given one, or that of FaceForensics++'s original videos."""
    existing_folder(folder, "--in", "videos, or FaceForensics++ with original_sequences/")
    sequences = folder / "original_sequences"
    if not sequences.is_dir():
        return folder
    videos = sequences / "youtube" / compression / "videos"
    return existing_folder(videos, "--in", f"the original videos in compression {compression} (see --compression)")


def id_of(name: str) -> str:
    """The video of a clip <video>#<first>#<end> from script/crop_faces.py; other names are unchanged."""
    return name.split("#")[0]


def phases_of_lists(folder: Path, videos: list[str]) -> dict[str, str]:
    """Phase of each video by FaceForensics++'s lists of id pairs; videos in no list are left out."""
    phases: dict[str, str] = {}
    for phase in PHASES:
        path = folder / f"{phase}.json"
        if not path.is_file():
            raise UserError(f"--splits {folder}: no {path.name}; get the lists of FaceForensics++")
        what = "not a list of pairs of ids"
        with reading(path, what):
            phases.update({str(name): phase for pair in read_json(path, what) for name in pair})
    missing, unlisted = sorted(phases.keys() - set(videos)), sorted(set(videos) - phases.keys())
    if missing:
        print(f"{len(missing)} listed videos are missing: {', '.join(missing[:10])} ...", file=sys.stderr)
    if unlisted:
        print(f"{len(unlisted)} videos are in no list, skipped: {', '.join(unlisted[:10])} ...", file=sys.stderr)
    if not phases:
        raise UserError(f"--splits {folder}: its lists are empty; get those of FaceForensics++")
    if len(missing) == len(phases):
        raise UserError(f"--splits {folder}: none of the listed videos (such as {missing[0]}) is in the folder")
    return {name: phase for name, phase in phases.items() if name in videos}


def target(out: Path, phase: str, name: str) -> Path:
    """The folder of a video's frames."""
    return out / f"{phase}_data" / name


def extract(item: tuple[Path, Path], selection: Selection) -> None:
    """Write the selected frames of one video, numbered from 0 with leading zeros, so that names sort like frames."""
    path, folder = item
    with open_video(path, fps=selection.fps) as video, replacing_folder(folder) as temporary:
        chosen = range(len(video))[selection.first : selection.last : selection.every]
        digits = max(5, len(str(len(chosen))))
        for number, frame in enumerate(frames_at(video, chosen)):
            file = temporary / f"{number:0{digits}d}{selection.suffix}"
            save_image(file, resize(frame, selection.size), text={RATE_TEXT: str(video.fps / selection.every)})
        if not any(temporary.iterdir()):
            raise UserError(f"{path}: has {len(video)} frames, none of them in --range")


if __name__ == "__main__":
    run_main(main)
