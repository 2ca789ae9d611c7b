"""Find damaged videos by decoding all of them; list them, and move them away on request. Nothing is deleted."""

import argparse
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder
from data.video import DamagedVideo, list_videos, open_video
from util.csv_table import write_table
from util.errors import UserError, run_main
from util.files import replacing, write_text
from util.jsons import read_report
from util.values import count

EPILOG = """examples:
  python script/voxceleb_clean.py --root vox2/dev/mp4                      # look only: writes vox2/dev/mp4_damaged.csv
  python script/voxceleb_clean.py --root vox2/dev/mp4 --move vox2/damaged  # and move them, keeping <person>/<video>/

What was checked is kept in --state, so a run that was interrupted is continued by the same command, and --move after
a run without it decodes nothing again. A video that has changed since is checked again."""


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.root, "--root", "videos, such as <person>/<video>/<clip>.mp4")
    if args.move and root.resolve() in [args.move.resolve(), *args.move.resolve().parents]:
        raise UserError(
            f"--move {args.move}: inside --root, where its videos would count as part of the dataset; choose a "
            f"folder outside"
        )
    state = args.state or root.with_name(f"{root.name}_checked")
    report = args.list or root.with_name(f"{root.name}_damaged.csv")
    folders: dict[Path, list[str]] = {}
    for path in list_videos(root):
        folders.setdefault(path.relative_to(root).parent, []).append(path.name)
    if not folders and not state.is_dir():
        raise UserError(f"--root {root}: no videos in it or below it")
    summary = jobs.run(
        partial(check_folder, root=root, state=state, min_frames=args.min_frames),
        list(folders.items()),
        name=lambda item: str(item[0]),
        done=lambda item: is_checked(item, root, state),
        output=lambda item: record_of(state, item[0]),
        title="check folders",
        args=args,
        failures=root.with_name(f"{root.name}_check_failures.csv"),
    )
    verdicts = list(read_verdicts(state))
    damaged = [(path, verdict["reason"]) for path, verdict in verdicts if verdict["reason"]]
    moved = {path: move(root / path, args.move / path, root) for path, _ in damaged} if args.move else {}
    write_list(report, [(path, reason, moved.get(path, "")) for path, reason in damaged])
    print(f"{summary}\n{len(damaged)} of {len(verdicts)} videos are damaged (reasons in {report})")
    return summary.status or int(len(damaged) == len(verdicts))


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="videos, in folders of any depth")
    parser.add_argument("--move", type=Path, metavar="FOLDER", help="move damaged videos here (default: leave them)")
    parser.add_argument(
        "--min_frames",
        type=count,
        default=1,
        metavar="N",
        help="fewer frames count as damage (default: %(default)s)",
    )
    parser.add_argument("--list", type=Path, metavar="CSV", help="the damaged videos (default: <root>_damaged.csv)")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="what was checked (default: <root>_checked)")
    jobs.add_options(parser)
    return parser.parse_args()


def record_of(state: Path, folder: Path) -> Path:
    """The path of the results for a folder's videos."""
    return state / folder / "videos.json"


def fingerprint(path: Path) -> list[int]:
    """A fingerprint that changes with the file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def load_record(path: Path) -> dict[str, dict]:
    """The results for one folder's videos, by name."""
    return read_report(path) if path.is_file() else {}


def is_checked(item: tuple[Path, list[str]], root: Path, state: Path) -> bool:
    """Whether all videos of the folder were checked in their current state."""
    folder, names = item
    record = load_record(record_of(state, folder))
    return all(name in record and record[name]["file"] == fingerprint(root / folder / name) for name in names)


def check_folder(item: tuple[Path, list[str]], root: Path, state: Path, min_frames: int) -> None:
    """Decode the videos of one folder and store the results."""
    folder, names = item
    path = record_of(state, folder)
    record = load_record(path)
    for name in names:
        video = root / folder / name
        record[name] = {"file": fingerprint(video), "reason": find_damage(video, min_frames)}
    write_text(path, json.dumps(record, indent=1, sort_keys=True))


def find_damage(path: Path, min_frames: int) -> str | None:
    """Decode a video; returns its fault, or an empty string."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedVideo)
        try:
            with open_video(path) as video:
                frames = sum(1 for _ in video)
        except (UserError, DamagedVideo) as error:
            return str(error).removeprefix(f"{path}: ")
    return f"has {frames} frames, fewer than {min_frames}" if frames < min_frames else None


def read_verdicts(state: Path) -> Iterator[tuple[Path, dict]]:
    """Every video checked by this and earlier runs, and other shards, with its result."""
    for folder, folders, files in os.walk(state):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "videos.json" in files:
            for name, verdict in sorted(load_record(Path(folder) / "videos.json").items()):
                yield Path(folder).relative_to(state) / name, verdict


def move(video: Path, destination: Path, root: Path) -> str:
    """Move a video, unless an interrupted run did; never overwrites a file; removes empty folders."""
    if not video.exists():
        return str(destination) if destination.exists() else "gone"
    number = 1
    free = destination
    while free.exists() and fingerprint(free) != fingerprint(video):
        number += 1
        free = destination.with_name(f"{destination.stem}.{number}{destination.suffix}")
    if not free.exists():
        # Across disks a move is a copy, which gets its name when it is complete.
        with replacing(free) as temporary:
            shutil.copy2(video, temporary)
    video.unlink()
    for folder in video.relative_to(root).parents:
        if folder != Path() and not any((root / folder).iterdir()):
            (root / folder).rmdir()
    return str(free)


def write_list(path: Path, rows: list[tuple[Path, str, str]]) -> None:
    """Write the damaged videos as csv."""
    columns = ("video", "reason", "moved_to")
    write_table(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))


if __name__ == "__main__":
    run_main(main)
