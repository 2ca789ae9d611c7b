"""The crop protocol of the first order motion model: trajectories of boxes, and the ffmpeg commands that cut them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

INCREASE, IOU_WITH_INITIAL, MIN_FRAMES = 0.1, 0.25, 150


@dataclass(eq=False)
class BoxTrajectory:
    """A face while it overlaps its first box."""

    initial: np.ndarray
    union: np.ndarray
    first: int
    last: int

    def lasts(self, min_frames: int = MIN_FRAMES) -> bool:
        """Whether it is long enough to keep."""
        return self.last - self.first > min_frames


def inclusive_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of boxes that include their last row and column."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return float(common / (sum(areas) - common))


def box_trajectories(
    boxes: Iterable[Sequence[np.ndarray]], iou_with_initial: float = IOU_WITH_INITIAL
) -> Iterator[BoxTrajectory]:
    """Trajectories in the boxes (left, top, right, bottom) of successive frames, ordered by their end."""
    alive: list[BoxTrajectory] = []
    for index, found in enumerate(boxes):
        found = [np.asarray(box, dtype=np.float64) for box in found]
        surviving = []
        for one in alive:
            if any(inclusive_iou(one.initial, box) > iou_with_initial for box in found):
                surviving.append(one)
            else:
                yield one
        alive = surviving
        for box in found:
            _join(alive, box, index, iou_with_initial)
    yield from alive


def _join(alive, box, index, iou_with_initial):
    """Add a box to the trajectory it overlaps most, or start a new one."""
    overlaps = [inclusive_iou(one.initial, box) for one in alive]
    best = int(np.argmax(overlaps)) if overlaps else -1
    if best < 0 or overlaps[best] <= iou_with_initial:
        alive.append(BoxTrajectory(box, box.copy(), index, index))
        return
    one = alive[best]
    one.union = np.concatenate([np.minimum(one.union[:2], box[:2]), np.maximum(one.union[2:], box[2:])])
    one.last = index


def widened(union: np.ndarray, frame_size: tuple[int, int], increase: float = INCREASE) -> np.ndarray:
    """The union box made a square with a margin, in whole numbers, clipped to the frame (height, width)."""
    left, top, right, bottom = (float(edge) for edge in union)
    width, height = right - left, bottom - top
    wider = max(increase, ((1 + 2 * increase) * height - width) / (2 * width)) * width
    higher = max(increase, ((1 + 2 * increase) * width - height) / (2 * height)) * height
    edges = [int(left - wider), int(top - higher), int(right + wider), int(bottom + higher)]
    return np.clip(edges, 0, (frame_size[1], frame_size[0], frame_size[1], frame_size[0]))


def command(video: str, one: BoxTrajectory, box: np.ndarray, fps: float, image_shape: Sequence[int]) -> str:
    """The ffmpeg command that cuts a trajectory out of its video."""
    left, top, right, bottom = (int(edge) for edge in box)
    start = one.first / fps
    seconds = one.last / fps - start
    scale = f"scale={image_shape[0]}:{image_shape[1]}"
    area = f"crop={right - left}:{bottom - top}:{left}:{top}"
    return f'ffmpeg -i {video} -ss {start} -t {seconds} -filter:v "{area}, {scale}" crop.mp4'


def commands(
    boxes: Iterable[Sequence[np.ndarray]],
    frame_size: tuple[int, int],
    fps: float,
    *,
    video: str = "video.mp4",
    image_shape: Sequence[int] = (256, 256),
    increase: float = INCREASE,
    iou_with_initial: float = IOU_WITH_INITIAL,
    min_frames: int = MIN_FRAMES,
) -> list[str]:
    """The crop suggestions of the protocol for a video, from the face boxes of each of its frames."""
    return [
        command(video, one, widened(one.union, frame_size, increase), fps, image_shape)
        for one in box_trajectories(boxes, iou_with_initial)
        if one.lasts(min_frames)
    ]
