"""Faces and landmarks: the entry point to all detectors.

`build_detector` gives a back end, its `detect` takes any frames, and `track` follows one face through a clip.
"""

import argparse
from pathlib import Path
from typing import Any, Protocol

from data.faces.detector import Detector, Face
from data.faces.tracking import ON_MISSING, SEVERAL, Status, Track, track
from data.faces.trajectories import SEARCH_EVERY, Trajectories, Trajectory, follow
from util.errors import UserError
from util.values import at_least, count, keyword_or, share

__all__ = [
    "Detector",
    "Face",
    "Status",
    "Track",
    "Trajectories",
    "Trajectory",
    "add_detector_options",
    "add_options",
    "build_detector",
    "detector_settings",
    "follow",
    "track",
    "track_settings",
]

BOX_DETECTORS = {
    "dlib": ("hog", "cnn"),
    "own": ("hog",),
    "face-alignment": ("sfd", "blazeface", "blazeface-back"),
    "file": (),
}


SELDOM_SET = ("face_detector", "face_detector_model", "upsample", "search_every")
"""Options for special cases, which train.py and test.py show with --help_all alone."""


def build_detector(
    name: str = "dlib",
    *,
    model: Path | None = None,
    face_detector: str | None = None,
    face_detector_model: Path | None = None,
    upsample: int | None = None,
    device: str = "cpu",
    batch_size: int = 8,
) -> Detector:
    """Build a back end: "dlib", "own", "face-alignment", or "file" (landmarks found earlier, at `model`)."""
    if name not in BOX_DETECTORS:
        raise UserError(f"--landmarks {name}: choose from {', '.join(BOX_DETECTORS)}")
    if name == "file":
        from data.faces.file_detector import FileDetector

        if model is None:
            raise UserError("--landmarks file: set --landmark_model to the file or folder of landmarks")
        return FileDetector(model)
    chosen = face_detector or BOX_DETECTORS[name][0]
    if chosen not in BOX_DETECTORS[name]:
        raise UserError(f"--face_detector {chosen}: with {name}, choose from {', '.join(BOX_DETECTORS[name])}")
    settings = {"model": model, "detector": chosen, "detector_model": face_detector_model}
    if upsample is not None:
        settings["upsample"] = upsample
    if name == "dlib":
        from data.faces.dlib_detector import DlibDetector

        return DlibDetector(**settings)
    if name == "own":
        from data.faces.own_detector import OwnDetector

        return OwnDetector(model=model, upsample=settings.get("upsample", 1), device=device)
    from data.faces.alignment_detector import AlignmentDetector

    return AlignmentDetector(**settings, device=device, batch_size=batch_size)


class HasGroups(Protocol):
    """An option parser: a script's argparse parser, or that of train.py and test.py."""

    def add_argument_group(self, title: str, description: str, /) -> Any: ...


def add_options(parser: HasGroups) -> None:
    """Declare the options of finding the landmarks of one face per frame."""
    group = add_detector_options(parser)
    group.add_argument(
        "--several",
        type=keyword_or(count, **{word: word for word in SEVERAL}),
        metavar="|".join((*SEVERAL, "N")),
        default="tracked",
        help="with several faces use the one tracked through most of the clip, each frame's largest, or the N-th from "
        "the left in the first frame with faces (default: %(default)s)",
    )
    group.add_argument(
        "--on_missing",
        choices=ON_MISSING,
        default="interpolate",
        help="what to do about frames without a face (default: %(default)s)",
    )
    group.add_argument(
        "--smooth",
        type=share,
        default=0.0,
        metavar="STRENGTH",
        help="one-euro smoothing of the points, 0 (off) to 1 (strong) (default: %(default)s)",
    )


def add_detector_options(parser: HasGroups) -> Any:
    """Declare the options of finding and following faces; return their group."""
    group = parser.add_argument_group("faces", "e.g. --landmarks own")
    group.add_argument(
        "--landmarks",
        choices=list(BOX_DETECTORS),
        default="dlib",
        help="detector of faces and their 68 points (default: %(default)s)",
    )
    group.add_argument(
        "--landmark_model",
        type=Path,
        metavar="PATH",
        help="weights of the 68 points (default: dataset/, then installed packages), or with --landmarks file the "
        "file or folder to read",
    )
    group.add_argument(
        "--face_detector",
        choices=list(dict.fromkeys(name for names in BOX_DETECTORS.values() for name in names)),
        help="detector of the boxes (default: hog for dlib, sfd for face-alignment)",
    )
    group.add_argument("--face_detector_model", type=Path, metavar="FILE", help="weights of cnn, sfd or blazeface")
    group.add_argument(
        "--upsample",
        type=at_least(0),
        metavar="N",
        help="enlarge frames 2^N times to find smaller faces (default: 1 for dlib, else 0)",
    )
    group.add_argument(
        "--search_every",
        type=count,
        default=SEARCH_EVERY,
        metavar="N",
        help="search the whole frame for new faces every N frames; 1 searches all frames and tracks nothing "
        "(default: %(default)s)",
    )
    return group


def detector_settings(args: argparse.Namespace) -> dict:
    """Arguments of `build_detector` from the options; plain values, so that they can be pickled."""
    return {
        "name": args.landmarks,
        "model": args.landmark_model,
        "face_detector": args.face_detector,
        "face_detector_model": args.face_detector_model,
        "upsample": args.upsample,
    }


def track_settings(args: argparse.Namespace) -> dict:
    """Arguments of `track` from the options."""
    return {
        "on_missing": args.on_missing,
        "smooth": args.smooth,
        "several": args.several,
        "search_every": args.search_every,
    }
