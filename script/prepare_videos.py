"""Turn your own videos into training data: detect, track and crop faces, split, pack, and add landmarks, in one go.

<out>/train and <out>/test hold one packed clip (.clip) per face, with its 68 landmarks, and an index. The layouts of
other families are beside them: {train,test}_data and _keypoints (face), talking_head/, ganimation/, portraits/
(live_portrait: packed clips of 512 pixels with landmarks, boxes of face and lips, and angles of the head).
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.faces.tracking import ON_MISSING
from data.preparation import jobs
from data.preparation.face_clips import METHODS, CropSettings
from data.preparation.items import add_gpu_option, device, existing_folder, named_videos, part_sizes, rate, split
from data.preparation.own_videos import LAYOUTS, Settings, Source, gather_ganimation, prepare
from data.video.clip_index import index_folder
from util.csv_table import write_table
from util.errors import UserError, run_main
from util.jsons import read_report
from util.printable import printable
from util.values import at_least, count, not_negative, share

EPILOG = """examples:
  python script/prepare_videos.py --in phone --out dataset/mine
  python script/prepare_videos.py --in talks --out dataset/talks --split 8/2 --layouts face --preview
  then: python train.py --config configs/fomm/vox-256.yaml --dataroot dataset/mine
        python train.py --config configs/live_portrait/released.yaml --dataroot dataset/mine/portraits

A video's faces are all in one part, train or test. Videos in folders, <in>/<person>/<video>.mp4, are of one person,
and no person is in both parts. Without folders every video counts as a person.
clips.csv lists every face, kept or dropped, and why. GANimation also needs action units: run OpenFace on
ganimation/imgs, then script/prepare_au_annotations.py. A run that was interrupted is continued by the same command."""
SPLITS = ("train", "test")


def main() -> int:
    args = read_arguments()
    settings = Settings(
        out=args.out,
        crop=CropSettings(args.method, args.margin, args.min_frames, args.min_size),
        size=args.size,
        fps=args.fps,
        layouts=tuple(args.layouts),
        on_missing=args.on_missing,
        smooth=args.smooth,
        search_every=args.search_every,
        preview=args.preview,
    )
    sources = find_sources(args.input, args.split, settings)
    detector = {**landmarks.detector_settings(args), "batch_size": args.batch_size}
    summary = jobs.run(
        partial(work, detector=detector, gpus=args.gpu_id, settings=settings),
        sources,
        name=lambda source: str(source.path),
        done=lambda source: settings.report(source).is_file(),
        output=settings.outputs,
        title="prepare videos",
        args=args,
        failures=args.out / "prepare_videos_failures.csv",
    )
    print(summary)
    return summary.status or gather(sources, settings)


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--in", dest="input", type=Path, required=True, metavar="FOLDER", help="videos, or folders of people's videos")
    add("--out", type=Path, required=True, metavar="FOLDER", help="the dataset to make, such as dataset/mine")
    add("--split", type=part_sizes, default="9/1", metavar="TRAIN/TEST", help="shares of people (default: %(default)s)")
    add(
        "--layouts",
        nargs="*",
        choices=LAYOUTS,
        default=list(LAYOUTS),
        help="beside the packed clips (default: all; none: --layouts without a name)",
    )
    add("--size", type=count, default=256, help="side of the clips in pixels (default: %(default)s)")
    add("--fps", type=rate, help="bring the videos to this rate (default: each its own)")
    add("--method", choices=METHODS, default="fixed", help="as in script/crop_faces.py (default: %(default)s)")
    add("--margin", type=not_negative, default=0.5, help="around the face, in parts of its size (default: %(default)s)")
    add("--min_frames", type=count, help="shorter clips are dropped (default: 25; fomm: 150)")
    add("--min_size", type=at_least(0), default=96, help="smaller crops are dropped, in pixels (default: %(default)s)")
    add("--preview", action="store_true", help="write a sheet of each video with the crops drawn in, to previews/")
    faces = landmarks.add_detector_options(parser)
    faces.add_argument(
        "--on_missing",
        choices=ON_MISSING,
        default="interpolate",
        help="what to do about frames of a clip without a face (default: %(default)s)",
    )
    faces.add_argument(
        "--smooth",
        type=share,
        default=0.0,
        metavar="STRENGTH",
        help="of the points, 0 (off) to 1 (default: %(default)s)",
    )
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def find_sources(folder: Path, sizes: tuple[int, int], settings: Settings) -> list[Source]:
    """The videos, their persons, and the split of each person."""
    existing_folder(folder, "--in", "videos, or <person>/<video>.mp4")
    videos = named_videos(folder)
    if not videos:
        raise UserError(f"--in {folder}: no videos in it; use mp4, mov, avi, mkv or webm")
    named = []
    for name, path in videos.items():
        first, *rest = map(printable, path.relative_to(folder).with_suffix("").parts)
        named.append((path, f"{first}#{'_'.join(rest)}", first) if rest else (path, name, name))
    parts = split(dict.fromkeys(person for _, _, person in named), sizes)
    sources = [Source(path, name, person, parts[person]) for path, name, person in named]
    # People prepared earlier keep their split, even if others were added since.
    parts |= {source.person: load(settings, source)["split"] for source in sources if settings.report(source).is_file()}
    return [Source(source.path, source.name, source.person, parts[source.person]) for source in sources]


def load(settings: Settings, source: Source) -> dict:
    """The report of a finished video."""
    return read_report(settings.report(source))


def work(source: Source, detector: dict, gpus: tuple[int, ...], settings: Settings) -> str | None:
    """Prepare one video; the warning lists its dropped faces."""
    rows = prepare(source, jobs.once(landmarks.build_detector, **detector, device=device(gpus)), settings)
    reasons = [row["reason"] for row in rows if not row["kept"]]
    return f"{len(reasons)} of {len(rows)} faces dropped: {'; '.join(reasons)}" if reasons else None


def gather(sources: list[Source], settings: Settings) -> int:
    """Index the clips, list them, and print a summary."""
    done = [source for source in sources if settings.report(source).is_file()]
    rows = [row for source in done for row in load(settings, source)["clips"]]
    if not rows:
        return 0
    write_table(settings.out / "clips.csv", list(rows[0]), rows)
    for part in SPLITS:
        clips = [row for row in rows if row["kept"] and row["split"] == part]
        people = {source.person for source in done if source.split == part}
        frames = sum(row["frames"] for row in clips)
        print(f"{part}: {len(clips)} clips of {len(people)} people, {frames} frames, in {settings.out / part}")
        if clips:
            for folder in (settings.out / part, settings.out / "portraits" / part):
                if folder.is_dir():
                    index_folder(folder)
        else:
            print(f"warning: no clips to {part} on: add videos, or change --split", file=sys.stderr)
    if "ganimation" in settings.layouts:
        print(
            f"{gather_ganimation(settings.out / 'ganimation')} pictures for OpenFace in {settings.out}/ganimation/imgs"
        )
    return 0


if __name__ == "__main__":
    run_main(main)
