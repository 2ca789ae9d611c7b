"""Detect the 68 landmarks in every frame of VoxCeleb-style folders <person>/<video>/<frame>, for talking heads.

Writes a metadata.npz into each video folder: `names` of the frames with a face, and `landmarks` (frames, 68, 2), x and
y in the frame resized to a square of --size, the model's input.
"""

import argparse
import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces import landmarks
from data.preparation import jobs
from data.preparation.items import add_gpu_option, device, existing_folder, subfolders
from data.talking.frames import points_extent
from data.video.images import list_images, read_image
from util.errors import UserError, run_main
from util.files import replacing
from util.values import count

EPILOG = """examples:
  python script/extract_landmarks.py --root dataset/voxceleb1
  python script/extract_landmarks.py --root dataset/voxceleb2 --landmarks face-alignment --gpu_id 0,1 --workers 6

The frames are those of script/voxceleb_sample_frames.py. Frames without a face are left out of the file; a video
without any face gets no file and is listed with the failures. A run that was interrupted is continued by the same
command, also while more videos arrive."""


def main() -> int:
    args = read_arguments()
    root = existing_folder(args.root, "--root", "<person>/<video>/<frame> (script/voxceleb_sample_frames.py makes it)")
    videos = [video for person in subfolders(root) for video in subfolders(person)]
    if not videos:
        raise UserError(f"--root {root}: no folders <person>/<video> in it")
    settings = {**landmarks.detector_settings(args), "batch_size": args.batch_size}
    written = ("metadata.npz", "metadata.pkl") if args.pickle else ("metadata.npz",)
    summary = jobs.run(
        partial(find_landmarks, detector=settings, gpus=args.gpu_id, size=args.size, with_pickle=args.pickle),
        videos,
        name=lambda video: str(video.relative_to(root)),
        done=lambda video: all((video / name).is_file() for name in written),
        output=lambda video: [video / name for name in written],
        title="find landmarks",
        args=args,
        failures=root / "extract_landmarks_failures.csv",
    )
    print(summary)
    return summary.status


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="holds <person>/<video>/<frame>")
    parser.add_argument(
        "--size",
        type=count,
        default=256,
        help="side of the picture that the points belong to (default: %(default)s)",
    )
    parser.add_argument(
        "--pickle", action="store_true", help="also write metadata.pkl, for programs that read the original's form"
    )
    landmarks.add_detector_options(parser)
    add_gpu_option(parser)
    jobs.add_options(parser)
    return parser.parse_args()


def find_landmarks(video: Path, detector: dict, gpus: tuple[int, ...], size: int, with_pickle: bool) -> str | None:
    """Write one video's metadata; a warning if some frames have no face."""
    files = list_images(video)
    if not files:
        raise UserError(f"{video}: no pictures directly in it; script/voxceleb_sample_frames.py flattens the clips")
    finder = jobs.once(landmarks.build_detector, **detector, device=device(gpus)).clip(video.name)
    names, points = [], []
    for start in range(0, len(files), finder.batch_size):
        batch = files[start : start + finder.batch_size]
        for file, faces in zip(batch, finder.detect([resized_square(file, size) for file in batch]), strict=True):
            if faces:
                names.append(file.name)
                points.append(max((face.points for face in faces), key=points_extent))
    if not names:
        raise UserError(f"{video}: no face in any of its {len(files)} frames")
    found = np.asarray(points, dtype=np.float32)
    if with_pickle:
        with replacing(video / "metadata.pkl") as temporary:
            temporary.write_bytes(pickle.dumps(list(zip(names, found, strict=True)), protocol=2))
    with replacing(video / "metadata.npz") as temporary:
        np.savez(temporary, names=np.array(names), landmarks=found, size=size, frames=len(files))
    without = len(files) - len(names)
    return f"no face in {without} of {len(files)} frames" if without else None


def resized_square(file: Path, size: int) -> np.ndarray:
    """A frame as the model sees it: resized to a square."""
    from PIL import Image

    return np.asarray(Image.fromarray(read_image(file)).resize((size, size), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    run_main(main)
