"""Detect the 68 key points of the face in every frame of FaceForensics-style folders.

Reads <root>/{train,test,val}_data/<video>/<frame>.png and writes <root>/{train,test,val}_keypoints/<video>/<frame>.txt,
68 lines "x,y" in pixels; folders may be nested. Points in folders of the old spelling (train_keypoint) are copied.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.preparation import jobs
from data.preparation.items import add_gpu_option, device, existing_folder, reads_points
from data.video.images import folders_with, is_visible_image, list_images, natural_key, read_image
from util.csv_table import write_table
from util.errors import UserError, run_main
from util.files import replacing_folder, write_text
from util.jsons import read_report

EPILOG = """examples:
  python script/obtain_face_kp.py                                # dataset/FaceForensics, all phases there are
  python script/obtain_face_kp.py --root dataset/mine --phases test --on_missing error

<phase>_keypoints.csv tells for every video in how many frames the face was found, filled in, or missing. A video in
which no face is found gets no key points and is listed with the failures; training leaves it out.
A run that was interrupted is continued by the same command."""
PHASES = ("train", "test", "val")
REPORTS = ".reports"


@dataclass(frozen=True)
class Video:
    """One video's frames, and the paths of its key points and report."""

    inner: Path  # of the folder of frames, below that of the phase
    frames: Path
    points: Path
    old_spelling: Path  # the folder with points of the phase in the old spelling
    report: Path

    @property
    def name(self) -> str:
        return "_".join(self.inner.parts)

    @property
    def old_points(self) -> Path:
        return self.old_spelling / self.inner


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.root, "--root", "train_data/<video>/<frame>.png (script/extract_frames.py makes it)")
    phases = [phase for phase in args.phases or PHASES if (root / f"{phase}_data").is_dir()]
    videos = {phase: find_videos(root, phase) for phase in phases}
    if not any(videos.values()):
        folders = ", ".join(f"{phase}_data" for phase in args.phases or PHASES)
        raise UserError(f"--root {root}: no folders of frames in {folders}; make them with script/extract_frames.py")
    settings = {**landmarks.detector_settings(args), "batch_size": args.batch_size}
    tables = [root / f"{phase}_keypoints.csv" for phase in phases]
    summary = jobs.run(
        partial(find_points, detector=settings, gpus=args.gpu_id, tracking=landmarks.track_settings(args)),
        [video for phase in phases for video in videos[phase]],
        name=lambda video: str(video.frames.relative_to(root)),
        done=is_done,
        output=lambda video: (video.points, video.report),
        title="find key points",
        args=args,
        failures=root / "obtain_face_kp_failures.csv",
    )
    for phase, table in zip(phases, tables, strict=True):
        write_reports(table, videos[phase])
    print(f"{summary}\nreports are in {', '.join(map(str, tables))}")
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("dataset/FaceForensics"),
        metavar="FOLDER",
        help="holds train_data and test_data (default: %(default)s)",
    )
    parser.add_argument("--phases", nargs="+", choices=PHASES, help="which of them (default: all that are there)")
    landmarks.add_options(parser)
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def find_videos(root: Path, phase: str) -> list[Video]:
    """The videos of a phase: folders with pictures at any depth; folders without any fail."""
    phase_root = root / f"{phase}_data"
    folders = {*chain(*folders_with(phase_root, is_visible_image))} - {phase_root}
    both = sorted(folders & {parent for folder in folders for parent in folder.parents})
    if both:
        raise UserError(
            f"{both[0]}: contains pictures and folders of pictures; move the pictures into their own folder"
        )
    return [_video(root, phase, folder.relative_to(phase_root)) for folder in sorted(folders, key=natural_key)]


def _video(root: Path, phase: str, inner: Path) -> Video:
    return Video(
        inner=inner,
        frames=root / f"{phase}_data" / inner,
        points=root / f"{phase}_keypoints" / inner,
        old_spelling=root / f"{phase}_keypoint",
        report=root / REPORTS / phase / f"{inner}.json",
    )


def is_done(video: Video) -> bool:
    """Whether the video is done: a text for each frame, or all that can be detected here."""
    if not video.points.is_dir():
        return False
    if has_all(video.points, video.frames):
        return True
    return video.report.is_file() and load(video.report)["frames"] == len(list_images(video.frames))


def load(report: Path) -> dict:
    """The report on one video."""
    return read_report(report)


def has_all(points: Path, frames: Path) -> bool:
    """Whether every frame has a text of its name."""
    texts = {path.stem for path in points.glob("*.txt")}
    return bool(texts) and all(frame.stem in texts for frame in list_images(frames))


def find_points(video: Video, detector: dict, gpus: tuple[int, ...], tracking: dict) -> str | None:
    """Write the key points of one video; a warning if some frames have no points of their own."""
    if reuse_old_points(video):
        return None
    files = list_images(video.frames)
    if not files:
        raise UserError(f"{video.frames}: no pictures in it")
    finder = jobs.once(landmarks.build_detector, **detector, device=device(gpus))
    found = landmarks.track(map(read_image, files), finder, name=video.name, **tracking)
    if not found.present.any():
        raise UserError(f"{video.frames}: no face in any of its {len(files)} frames")
    write_text(video.report, json.dumps(found.report()))
    with replacing_folder(video.points) as folder:
        for file, points, present in zip(files, found.points, found.present, strict=True):
            if present:
                lines = (f"{x},{y}\n" for x, y in np.rint(points).astype(int))
                (folder / f"{file.stem}.txt").write_text("".join(lines), encoding="utf-8")
    report = found.report()
    gaps = len(files) - report["found"]
    return f"no face in {gaps} of {len(files)} frames (--on_missing {tracking['on_missing']})" if gaps else None


def reuse_old_points(video: Video) -> bool:
    """Copy the points from the folder of the old spelling, if they exist and are valid."""
    if not has_all(video.old_points, video.frames):
        return False
    texts = {frame.stem: video.old_points / f"{frame.stem}.txt" for frame in list_images(video.frames)}
    if not all(reads_points(text) for text in texts.values()):
        return False
    report = {"name": video.name, "frames": len(texts), "source": video.old_spelling.name}
    write_text(video.report, json.dumps(report))
    with replacing_folder(video.points) as folder:
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text.read_text(encoding="utf-8"), encoding="utf-8")
    return True


def write_reports(path: Path, videos: list[Video]) -> None:
    """Collect the reports of this and earlier runs in one table."""
    columns = ["name", "frames", "found", "detected", "filled", "without", "longest_gap", "faces", "cuts", "source"]
    reports = [video.report for video in videos if video.report.is_file() and video.points.is_dir()]
    write_table(path, columns, map(load, reports))


if __name__ == "__main__":
    run_main(main)
