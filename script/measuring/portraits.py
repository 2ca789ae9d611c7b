"""Measure what LivePortrait has learned from drawn people: movement, shoulders, openness of eyes and lips."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from building import load_family
from data.base import to_tensor, to_tensors
from data.faces.head_pose import head_rotation, yaw_pitch_roll
from data.faces.landmarks import build_detector
from data.faces.portrait_crop import openness
from data.portraits import cut_window
from data.sample_faces import Truth
from data.video import open_video
from data.video.images import write_image
from metrics.parts.embeddings import DlibEmbedding
from metrics.parts.tools import Tools
from models.live_portrait.retargeting import Openness
from models.live_portrait.transfer import Rules, region_points, transfer
from models.live_portrait_retarget.losses import below_chin
from models.parts.truth import masked_difference
from options import parse
from util.errors import UserError
from util.grid import labelled_grid

EYES, LIPS = np.linspace(0, 0.4, 5), np.linspace(0, 0.5, 5)
"""The openness that is asked for: what drawn people do."""
SWING = 0.08
"""How far the crop of a driving clip moves, in units of [-1, 1], for the shoulders."""


@dataclass
class Clip:
    """A clip of a person outside the training data: (N, 3, H, W) in [0, 1], with its ground truth."""

    name: str
    frames: Tensor
    truth: Truth

    @property
    def landmarks(self) -> Tensor:
        """Of the first frame, (1, 68, 2) in [-1, 1]."""
        return torch.from_numpy((self.truth.landmarks[:1] + 0.5) * (2 / self.truth.size) - 1).float()

    @property
    def openness(self) -> Openness:
        """Of the first frame."""
        return Openness.of(torch.from_numpy(openness(self.truth.landmarks[:1])))


class FaceReader:
    """What a detector that has not taught the model sees in a generated picture."""

    def __init__(self):
        self.detector = build_detector("dlib")
        self.embed = DlibEmbedding(Tools())._describe

    def points(self, picture: Tensor) -> np.ndarray | None:
        """The 68 points of the largest face; None: no face."""
        faces = self.detector.detect([to_bytes(picture)])[0]
        return faces[0].points if faces else None

    def descriptor(self, picture: Tensor, points: np.ndarray) -> np.ndarray:
        """dlib's description of a face."""
        return self.embed(to_bytes(picture), points)


def to_bytes(picture: Tensor) -> np.ndarray:
    """A picture (3, H, W) in [0, 1] as (H, W, 3) uint8."""
    return np.ascontiguousarray((255 * picture.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())


def measure(arguments: list[str], frames: int, stride: int, threads: int, pictures: Path | None) -> None:
    """Print a line for each number; `arguments` are options of test.py."""
    opt = parse(arguments, training=False)
    family, _ = load_family(opt)
    torch.set_num_threads(threads)
    clips = list(read_clips(Path(opt.dataroot), frames, stride))
    reader = FaceReader()
    with torch.inference_mode():
        report_movement(family, clips, reader, pictures)
        report_shoulders(family, clips)
        report_openness(family, clips, reader, pictures)


def read_clips(root: Path, frames: int, stride: int) -> Iterator[Clip]:
    """The test clips, one of each person, thinned out."""
    seen = set()
    for path in sorted((root / "test").glob("*.mp4")):
        truth_path = root / "truth" / f"{path.stem}.npz"
        if path.stem.split("#")[0] in seen or not truth_path.is_file():
            continue
        seen.add(path.stem.split("#")[0])
        with open_video(path) as video:
            indices = list(range(0, len(video), stride))[:frames]
            pictures = to_tensors([video[index] for index in indices])
        truth = Truth.load(truth_path)
        truth.performance.rotation = truth.performance.rotation[indices]
        truth.landmarks = truth.landmarks[indices]
        yield Clip(path.stem, pictures, truth)
    if len(seen) < 2:
        raise UserError(
            f"--dataroot {root}: fewer than two people in test/ with ground truth; draw some with "
            f"script/make_sample_dataset.py"
        )


def moved(family, source: Clip, frames: Tensor, relative: bool) -> tuple[Tensor, Tensor, tuple]:
    """The points of a source, those moved by driving frames, and the encoded source."""
    image = family.seen(source.frames[:1])
    of_source, of_driving = family.motion_extractor(image), family.motion_extractor(family.seen(frames))
    rules = Rules(relative=relative)
    driven = transfer(rules, of_source, of_driving, of_driving.rows(slice(0, 1)))
    return of_source.points(), region_points(rules, of_source, driven), family.encode(image)


def pairs(clips: list[Clip]) -> Iterator[tuple[Clip, Clip]]:
    """Every person, moved by the next one and the one after."""
    for step in (1, 2) if len(clips) > 2 else (1,):
        for index, source in enumerate(clips):
            yield source, clips[(index + step) % len(clips)]


def report_movement(family, clips: list[Clip], reader: FaceReader, pictures: Path | None) -> None:
    """Print whether the person stays the same and the head turns with the driving one."""
    own, other, turns, frames, missed = [], [], [], 0, 0
    for source, driving in pairs(clips):
        kp, driven, encoded = moved(family, source, driving.frames, relative=True)
        generated = family.generate(encoded, kp.expand_as(driven), driven)
        poses = []
        known = [reader.descriptor(clip.frames[0], clip.truth.landmarks[0]) for clip in (source, driving)]
        for picture in generated:
            frames += 1
            points = reader.points(picture)
            poses.append(np.full(3, np.nan))
            if points is None:
                missed += 1
                continue
            poses[-1] = yaw_pitch_roll(head_rotation(points, *picture.shape[-2:]))
            for distances, one in zip((own, other), known, strict=True):
                distances.append(np.linalg.norm(reader.descriptor(picture, points) - one))
        true = driving.truth.performance.rotation
        turns.append(np.stack([np.array(poses) - poses[0], true - true[0]]))
        if pictures:
            columns = {
                "source": source.frames[:1].expand(len(generated), -1, -1, -1),
                "driving": driving.frames,
                "made": generated,
            }
            write_image(
                pictures / f"{source.name}_by_{driving.name}.png",
                labelled_grid({name: batch[::3].numpy() for name, batch in columns.items()}, rows=4),
            )
    own, other = np.array(own), np.array(other)
    print(f"{frames} frames of {len(clips)} people, no face found in {missed}")
    print(f"identity: distance to the source {own.mean():.3f} (above 0.6: {(own > 0.6).mean():.1%}), to the driving "
          f"person {other.mean():.3f}, nearer to the source {(own < other).mean():.1%}")  # fmt: skip
    generated, true = np.concatenate(turns, axis=1)
    for axis, name in enumerate(("yaw", "pitch", "roll")):
        known = ~np.isnan(generated[:, axis])
        slope, correlation = line(true[known, axis], generated[known, axis])
        print(f"pose: {name} since the first frame, correlation {correlation:.2f}, slope {slope:.2f}")


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression of y on x, and the correlation."""
    return float(np.polyfit(x, y, 1)[0]), float(np.corrcoef(x, y)[0, 1])


def with_moving_crop(frames: Tensor) -> Tensor:
    """Driving frames whose crop moves to and fro, from where it is."""
    result = []
    for index, frame in enumerate(frames):
        phase = 2 * np.pi * index / len(frames)
        window = np.array([SWING * np.sin(phase), SWING * np.sin(2 * phase) / 2, 1.0])
        result.append(to_tensor(cut_window(to_bytes(frame), window)))
    return torch.stack(result)


def report_shoulders(family, clips: list[Clip]) -> None:
    """Print how far the shoulders leave their place, with stitching and without."""
    for relative in (True, False):
        errors: dict[str, list[float]] = {"without stitching": [], "with stitching": []}
        faces: dict[str, list[float]] = {name: [] for name in errors}
        for source, driving in pairs(clips):
            kp, driven, encoded = moved(family, source, with_moving_crop(driving.frames), relative)
            kp = kp.expand_as(driven)
            still = family.generate(encoded, kp[:1], kp[:1]).expand(len(driven), -1, -1, -1)
            mask = below_chin(source.landmarks, still.shape[-1]).expand(len(driven), -1, -1, -1)
            for name, points in zip(errors, (driven, family.stitching(kp, driven)), strict=True):
                generated = family.generate(encoded, kp, points)
                errors[name].append(float(masked_difference(generated, still, mask)))
                faces[name].append(float(masked_difference(generated, still, 1 - mask)))
        listed = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in errors.items())
        above = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in faces.items())
        print(f"shoulders, {'relative' if relative else 'absolute'}: {listed} (change above them: {above})")


def report_openness(family, clips: list[Clip], reader: FaceReader, pictures: Path | None) -> None:
    """Print the correlation of wanted and measured openness."""
    for part, wanted in (("eyes", EYES), ("lips", LIPS)):
        asked, measured = [], []
        for clip in clips:
            image = family.seen(clip.frames[:1])
            kp, encoded = family.motion_extractor(image).points(), family.encode(image)
            aims = torch.tensor(wanted, dtype=torch.float32)[:, None]
            opens = family.adjuster.eye_offsets if part == "eyes" else family.adjuster.lip_offsets
            now = Openness(*(each.expand(len(aims), -1) for each in clip.openness))
            kp = kp.expand(len(aims), -1, -1)
            generated = family.generate(encoded, kp, kp + opens(kp, now, aims))
            for aim, picture in zip(wanted, generated, strict=True):
                points = reader.points(picture)
                if points is not None:
                    found = openness(points)
                    asked.append(aim)
                    measured.append(found[:2].mean() if part == "eyes" else found[2])
            if pictures:
                grid = {f"{aim:.2f}": picture[None].numpy() for aim, picture in zip(wanted, generated, strict=True)}
                write_image(pictures / f"{clip.name}_{part}.png", labelled_grid(grid, rows=1))
        slope, correlation = line(np.array(asked), np.array(measured))
        print(f"openness of {part}: correlation {correlation:.2f}, slope {slope:.2f}, {len(asked)} pictures")
