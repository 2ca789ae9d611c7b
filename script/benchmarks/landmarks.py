"""Speed of tracking faces in videos, compared with detection in every frame, and the difference of the points.

Both process the same decoded frames of each video in one process, one after the other. Targets: tracking has at least 5
times the frames per second, and the median distance between its points and those of detection in every frame is at most
1 pixel, in frames resized to 256 pixels on the shorter side. Without --videos a drawn person is used.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np

from data.faces import landmarks
from script.bars import report_bars
from util.errors import UserError

SIDE = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py landmarks`."""
    parser.add_argument("--videos", type=Path, metavar="PATH", help="a video or a folder of videos")
    parser.add_argument("--frames", type=int, default=300, help="of each video at most (default: %(default)s)")
    landmarks.add_detector_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    detector = landmarks.build_detector(**landmarks.detector_settings(args))
    seconds, distances = np.zeros(2), []
    print(f"{'video':16s} {'frames':>6s} {'size':>10s}  every frame  followed   times  median px  95 %")
    for name, frames in clips(args):
        followed, fast = timed(frames, detector, args.search_every, name)
        searched, slow = timed(frames, detector, 1, name)
        apart = distance(followed, searched, frames[0].shape[:2])
        size = "{1}x{0}".format(*frames[0].shape)
        rates = f"{len(frames) / slow:8.1f} /s {len(frames) / fast:8.1f} /s {slow / fast:6.1f}"
        differences = f"{np.median(apart):9.2f} {np.percentile(apart, 95):6.2f}"
        print(f"{name:16.16s} {len(frames):6d} {size:>10s} {rates} {differences}", flush=True)
        seconds += (slow, fast)
        distances.append(apart.ravel())
    return judge(seconds[0] / seconds[1], float(np.median(np.concatenate(distances))))


def judge(times: float, median: float) -> int:
    """Print the targets; status 1 if one is missed."""
    bars = [
        (f"following is {times:.1f} times as fast as searching every frame (bar: 5)", times >= 5),
        (f"its points differ by {median:.2f} pixels in the median (bar: 1, at {SIDE})", median <= 1),
    ]
    return report_bars(bars)


def timed(frames: list, detector, search_every: int, name: str) -> tuple[landmarks.Track, float]:
    """Landmarks of a clip, and the time in seconds."""
    start = time.perf_counter()
    track = landmarks.track(frames, detector, name=name, on_missing="skip", search_every=search_every)
    return track, time.perf_counter() - start


def distance(one: landmarks.Track, other: landmarks.Track, size: tuple[int, int]) -> np.ndarray:
    """Distances of the points (frames, 68) that both have, in frames of SIDE pixels."""
    both = one.present & other.present
    if not both.any():
        raise UserError(f"{one.name}: no frame in which both ways find a face; take videos of people")
    return np.linalg.norm(one.points[both] - other.points[both], axis=-1) * (SIDE / min(size))


def clips(args: argparse.Namespace):
    """Names and frames of the videos, or of a drawn person."""
    if args.videos is None:
        from data.sample_faces import tiny_clip

        yield "drawn", list(tiny_clip(frames=min(args.frames, 150), size=SIDE)[0])
        return
    from data.video import list_videos, open_video

    paths = [args.videos] if args.videos.is_file() else list_videos(args.videos)
    if not paths:
        raise UserError(f"--videos {args.videos}: no video there")
    for path in paths:
        with open_video(path) as video:
            yield path.name, list(islice(video, args.frames))
