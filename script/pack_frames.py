"""Pack videos or folders of frames into one file per clip with fast random access, and index all clips.

<in>/<name>.mp4 or <in>/<name>/<frame>.png become <out>/<name>.clip; <out>/index.clips lists all clips of <out>.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder, picture_size, rate, resize
from data.video import Video, list_clips, open_video
from data.video.clip_index import INDEX_NAME, index_folder
from data.video.images import list_images
from data.video.packed import SUFFIX, pack
from util.archives import read_npz
from util.errors import UserError, run_main
from util.printable import printable

EPILOG = f"""examples:
  python script/pack_frames.py --in videos --out dataset/mine/train --size 256x256
  # folders of frames with the key points of script/obtain_face_kp.py
  python script/pack_frames.py --in dataset/FaceForensics/train_data --arrays dataset/FaceForensics/train_keypoints \\
      --out dataset/packed/train
  # only make the index again, after clips were added or removed
  python script/pack_frames.py --index dataset/mine/train

What belongs to the frames is packed with them: <arrays>/<name>.npz (any arrays), <arrays>/<name>/<frame>.txt ("x,y"
lines, NaN for frames without), or metadata.npz in the folder of frames (script/extract_landmarks.py). The array named
"landmarks" is in pixels and follows --size. The person of a clip is the first folder of its name, or what stands
before "#" in it, or else the clip itself; {INDEX_NAME} keeps it.
A run that was interrupted is continued by the same command; --overwrite packs all again, with other settings."""


@dataclass(frozen=True)
class Settings:
    """The settings of packing."""

    root: Path
    arrays: Path | None
    size: tuple[int | None, int] | None
    fps: Fraction | None
    format: str
    quality: int


def main() -> int:
    args = read_arguments()
    if args.index is not None:
        return make_index(existing_folder(args.index, "--index", f"packed clips ({SUFFIX})"))
    root = existing_folder(args.input, "--in", "videos, or folders of frames")
    arrays = args.arrays and existing_folder(args.arrays, "--arrays", "<name>.npz or <name>/<frame>.txt")
    items = find_clips(root)
    summary = jobs.run(
        partial(
            pack_clip, out=args.out, settings=Settings(root, arrays, args.size, args.fps, args.format, args.quality)
        ),
        list(items.items()),
        name=lambda item: str(item[1]),
        done=lambda item: clip_path(args.out, item[0]).is_file(),
        output=lambda item: clip_path(args.out, item[0]),
        title="pack",
        args=args,
        failures=args.out / "pack_frames_failures.csv",
    )
    print(summary)
    return summary.status or make_index(args.out)


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--in", dest="input", type=Path, metavar="FOLDER", help="videos, or folders of frames")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the clips and their index go")
    parser.add_argument("--index", type=Path, metavar="FOLDER", help="pack nothing, index the clips in this folder")
    parser.add_argument("--arrays", type=Path, metavar="FOLDER", help="what belongs to the frames, see below")
    parser.add_argument("--size", type=picture_size, help="256: the shorter side; 256x256: exactly (default: as it is)")
    parser.add_argument("--fps", type=rate, help="bring videos to this rate, or say that of folders (default: theirs)")
    parser.add_argument(
        "--format",
        choices=("jpeg", "png"),
        default="jpeg",
        help="png is lossless, five times as large, and six times as slow to read (default: %(default)s)",
    )
    parser.add_argument("--quality", type=int, choices=range(1, 101), default=95, metavar="1..100", help="of jpeg (95)")
    jobs.add_options(parser)
    args = parser.parse_args()
    if args.index is None and (args.input is None or args.out is None):
        parser.error("set --in and --out to pack, or --index to make only an index")
    if args.arrays is not None and args.fps is not None:
        parser.error("--arrays belong to the original frames: remove --fps")
    return args


def find_clips(root: Path) -> dict[str, Path]:
    """The videos and folders of frames below the root, by name."""
    found: dict[str, Path] = {}
    for path in list_clips(root):
        name = printable(name_of(root, path))
        if name in found:
            raise UserError(f"{found[name]} and {path} would get the same name {name}: rename or move one of them")
        found[name] = path
    if not found:
        raise UserError(f"--in {root}: no videos and no folders of frames in it")
    return found


def name_of(root: Path, path: Path) -> str:
    """A clip's name: its path below the root, without the suffix of a video."""
    inside = path.relative_to(root)
    return (inside if path.is_dir() else inside.with_suffix("")).as_posix()


def clip_path(out: Path, name: str) -> Path:
    """The path of a clip; names may contain dots, so with_suffix is not used."""
    return out / f"{name}{SUFFIX}"


def pack_clip(item: tuple[str, Path], out: Path, settings: Settings) -> None:
    """Pack one clip."""
    name, source = item
    with open_video(source, settings.fps) as video:
        arrays = find_arrays(name_of(settings.root, source), source, video, settings.arrays)
        if "landmarks" in arrays:
            height, width = resize(video[0], settings.size).shape[:2]
            scale = width / video.size[1], height / video.size[0]
            arrays["landmarks"] = arrays["landmarks"] * np.array(scale, np.float32)
        pack(
            clip_path(out, name),
            frames_of(video, settings.size, arrays.get("landmarks")),
            fps=video.fps,
            format=settings.format,
            quality=settings.quality,
            arrays=arrays,
            meta={"source": source.name, "source_size": list(video.size)},
        )


def frames_of(video: Video, size: tuple[int | None, int] | None, landmarks: np.ndarray | None) -> Iterator[np.ndarray]:
    """The frames to pack; raises an error after the last one if the landmarks do not match."""
    count = 0
    for frame in video:
        yield resize(frame, size)
        count += 1
    if landmarks is not None and len(landmarks) != count:
        raise UserError(f"{video.path}: {count} frames, but landmarks of {len(landmarks)}; detect the landmarks again")


def find_arrays(name: str, source: Path, video: Video, folder: Path | None) -> dict[str, np.ndarray]:
    """The arrays of a clip's frames."""
    if folder is not None and (folder / f"{name}.npz").is_file():
        return read_arrays(folder / f"{name}.npz")
    if folder is not None and (folder / name).is_dir():
        return {"landmarks": read_points(source, folder / name)}
    if source.is_dir() and (source / "metadata.npz").is_file():
        return {"landmarks": read_metadata(source, video.size)}
    return {}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, read without running code."""
    return read_npz(path, "cannot be read as arrays", remedy="make it again")


def read_points(source: Path, folder: Path) -> np.ndarray:
    """Key points from the frames' text files; NaN for frames without one."""
    from data.faces.file_detector import read_text

    if not source.is_dir():
        raise UserError(f"{source}: text files with key points need a folder of frames, not a video")
    points = []
    for image in list_images(source):
        text = folder / f"{image.stem}.txt"
        found = read_text(text) if text.is_file() else np.full((1, 68, 2), np.nan)
        if len(found) != 1:
            raise UserError(f"{text}: has the points of {len(found)} frames instead of one")
        points.append(found[0])
    return np.asarray(points, dtype=np.float32)


def read_metadata(source: Path, size: tuple[int, int]) -> np.ndarray:
    """Landmarks stored by script/extract_landmarks.py, in pixels of the frames."""
    stored = read_arrays(source / "metadata.npz")
    known = dict(zip(stored["names"].tolist(), stored["landmarks"], strict=True))
    missing = np.full((68, 2), np.nan)
    points = np.asarray([known.get(image.name, missing) for image in list_images(source)], dtype=np.float32)
    return points * np.array([size[1], size[0]], np.float32) / float(stored["size"])


def make_index(folder: Path) -> int:
    """Index the clips in a folder, and report skipped ones."""
    from tqdm import tqdm

    path, count, left_out = index_folder(folder, progress=partial(tqdm, desc="index", unit="clip"))
    for name, reason in left_out.items():
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    print(f"{count} clips in {path}" + (f", {len(left_out)} skipped" if left_out else ""))
    return 0


if __name__ == "__main__":
    run_main(main)
