"""Train Grimace's own network for the 68 points of a face on drawn people (--landmarks own uses it)."""

import argparse
import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.faces.own_detector import crop_matrix, cut, square_around
from data.sample_faces import Truth
from util.errors import UserError, run_main
from util.files import replacing
from util.reading import reading
from util.values import count

EPILOG = """examples:
  python script/make_sample_dataset.py --variety rich --out result/own_people --identities 640 --clips 3 --frames 10 \\
      --stride 8 --size 128 --seed 1
  python script/train_landmarks.py --people result/own_people --out weights/landmarks

The same command goes on where it was stopped (--run holds what it needs)."""
HIDDEN = 0.4
"""Loss weight of occluded points."""


@dataclass
class Faces:
    """All frames of a split with their ground truth."""

    frames: np.ndarray  # (N, H, W, 3)
    points: np.ndarray  # (N, 68, 2)
    visible: np.ndarray  # (N, 68)


def main() -> int:
    """Train, measure, export."""
    args = read_arguments()
    import torch

    torch.set_num_threads(args.threads)
    train, test = (read_faces(args.people, split) for split in ("train", "test"))
    print(f"{len(train.frames)} frames to learn from, {len(test.frames)} to measure on")
    network = fit(args, train)
    print(f"unseen drawn people: median distance {100 * measure(network, test):.1f} % of the eyes' distance")
    path = args.out / "own.safetensors"
    export(network, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MB, sha256 {digest}")
    return 0


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--people", type=Path, required=True, metavar="FOLDER", help="a set of make_sample_dataset.py")
    add("--out", type=Path, default=Path("weights/landmarks"), metavar="FOLDER", help="(default: %(default)s)")
    add("--run", type=Path, default=Path("result/landmarks"), metavar="FOLDER",
        help="what it needs to go on (default: %(default)s)")  # fmt: skip
    add("--steps", type=count, default=8000, help="updates (default: %(default)s)")
    add("--batch_size", type=count, default=48, help="faces of an update (default: %(default)s)")
    add("--rate", type=float, default=2e-3, help="learning rate at the start; it falls to 0 (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--threads", type=count, default=2, help="threads of the processor (default: %(default)s)")
    add("--save_every", type=count, default=200, help="updates between savings (default: %(default)s)")
    return parser.parse_args()


def read_faces(root: Path, split: str) -> Faces:
    """All finished clips of a split."""
    from data.video import open_video

    frames, points, visible = [], [], []
    for film in sorted((root / split).glob("*.mp4")):
        path = root / "truth" / f"{film.stem}.npz"
        if not path.is_file():
            continue
        truth = Truth.load(path)
        with open_video(film) as video:
            frames.append(np.stack(list(video)))
        points.append(truth.landmarks)
        visible.append(truth.visible)
    if not frames:
        raise UserError(f"{root / split}: no clips with ground truth; draw them with script/make_sample_dataset.py")
    return Faces(*(np.concatenate(parts) for parts in (frames, points, visible)))


def draw_batch(faces: Faces, rng: np.random.Generator, size: int) -> tuple:
    """Crops with inaccurate squares, some rotated, some mirrored: pictures, points in [-1, 1], visibility."""
    from data.faces.detector import MIRRORED
    from util.landmark_network import SIDE

    crops, targets, seen = [], [], []
    for index in rng.integers(len(faces.frames), size=size):
        points = faces.points[index]
        square = square_around(points) * [1, 1, rng.uniform(0.82, 1.35)]
        square[:2] += rng.uniform(-0.1, 0.1, 2) * square[2]
        matrix = crop_matrix(square, SIDE, float(rng.normal(0, 12)))
        crop, target = cut(faces.frames[index], matrix, SIDE), points @ matrix[:, :2].T + matrix[:, 2]
        visible = faces.visible[index]
        if rng.uniform() < 0.5:
            crop, target, visible = crop[:, ::-1], (target * [-1, 1] + [SIDE - 1, 0])[MIRRORED], visible[MIRRORED]
        light = np.exp(rng.normal(0, 0.15, 3)) * np.exp(rng.normal(0, 0.25))
        crops.append(np.clip(crop * light + rng.normal(0, 3, crop.shape), 0, 255).astype(np.float32) / 255)
        targets.append((target + 0.5) * (2 / SIDE) - 1)
        seen.append(visible)
    return np.stack(crops).transpose(0, 3, 1, 2), np.stack(targets).astype(np.float32), np.stack(seen)


def fit(args: argparse.Namespace, faces: Faces):
    """The trained network."""
    import torch
    from tqdm import tqdm

    from util.landmark_network import LandmarkNetwork

    torch.manual_seed(args.seed)
    network = LandmarkNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), args.rate, weight_decay=1e-4)
    first = resume(args.run / "latest.pth", network, optimizer)
    for step in (bar := tqdm(range(first, args.steps), initial=first, total=args.steps, unit="step")):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        # A batch is a function of seed and step, so a resumed run continues identically.
        batch = draw_batch(faces, np.random.default_rng([args.seed, step]), args.batch_size)
        loss = error_of(network.train(), *(torch.from_numpy(np.ascontiguousarray(part)) for part in batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{float(loss):.4f}")
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(args.run / "latest.pth", network, optimizer, step + 1)
    return network.eval()


def error_of(network, crops, points, visible):
    """Distance of the points, with a smaller weight for occluded ones, and cross entropy of their visibility."""
    import torch
    import torch.nn.functional as F

    found = network(crops.contiguous(memory_format=torch.channels_last))
    weight = torch.where(visible, 1.0, HIDDEN)[..., None]
    distance = (F.smooth_l1_loss(found.points, points, beta=0.02, reduction="none") * weight).mean()
    return 10 * distance + 0.05 * F.binary_cross_entropy_with_logits(found.visible, visible.float())


def save(path: Path, network, optimizer, step: int) -> None:
    """Save the state for resuming."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, temporary)


def resume(path: Path, network, optimizer) -> int:
    """Restore the saved state; returns the next step."""
    if not path.is_file():
        return 0
    from util.weights_file import read_weights

    state = read_weights(path)
    with reading(path, "not what this script keeps to go on", "remove it to begin again"):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


def measure(network, faces: Faces) -> float:
    """Median over frames of the mean error of visible points in an inaccurate crop, relative to the eyes' distance."""
    import torch

    rng, errors = np.random.default_rng(0), []
    from util.landmark_network import SIDE

    for start in range(0, len(faces.frames), 64):
        numbers = range(start, min(start + 64, len(faces.frames)))
        squares = [square_around(faces.points[k]) * [1, 1, rng.uniform(0.95, 1.2)] for k in numbers]
        matrices = [crop_matrix(square, SIDE) for square in squares]
        crops = [cut(faces.frames[k], matrix, SIDE) for k, matrix in zip(numbers, matrices, strict=True)]
        with torch.no_grad():
            batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
            found = (network(batch).points.numpy() + 1) * (SIDE / 2) - 0.5
        for k, points, matrix in zip(numbers, found, matrices, strict=True):
            true = faces.points[k] @ matrix[:, :2].T + matrix[:, 2]
            eyes = np.linalg.norm(true[36] - true[45])
            seen = faces.visible[k]
            if seen.sum() >= 40:
                errors.append(np.linalg.norm(points - true, axis=1)[seen].mean() / max(eyes, 1.0))
    return float(np.median(errors))


def export(network, path: Path) -> None:
    """The weights in half precision."""
    from util.weights_file import write_safetensors

    state = network.state_dict()
    write_safetensors(path, {name: value.half() for name, value in state.items() if value.is_floating_point()})


if __name__ == "__main__":
    run_main(main)
