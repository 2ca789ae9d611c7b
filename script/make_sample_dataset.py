"""Draw the sample dataset: talking, turning, blinking people who do not exist, with ground truth for every frame.

The same clips are written in the layout of every family; docs/sample.md describes the folders and the truth.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.sample_faces import (
    FPS,
    VARIETIES,
    Truth,
    check,
    layouts,
    perform,
    perform_micro,
    perform_rich,
    person,
    render_clip,
    sheets,
    write_film,
)
from data.sample_faces.motion import motion_truth
from data.sample_faces.performance import MICRO
from data.sample_faces.voice import synthesise
from util.errors import UserError, run_main
from util.files import write_text
from util.jsons import read_json
from util.reading import reading
from util.values import WHOLE, count

EPILOG = """examples:
  python script/make_sample_dataset.py --out dataset/sample
  python script/make_sample_dataset.py --out /tmp/small --identities 4 --clips 2 --frames 20 --size 128
  python script/make_sample_dataset.py --out dataset/sample --check
  python script/make_sample_dataset.py --sheets docs
  python script/make_sample_dataset.py --variety rich --out /tmp/rich --identities 100 --frames 10 --stride 8 --size 128

A run that was interrupted is continued by the same command. The same seed and settings give the same files, byte for
byte, whatever the number of workers."""
LAYOUTS = ("frames", "aus", "talking_head", "micro")
FURTHER_LAYOUTS = ("short", "motion")
"""Layouts that are only written on request."""
RICH_LAYOUTS = ("frames", "talking_head", "short", "motion")
"""Layouts of a rich set; action units and micro-expressions need even, frontal faces."""
MICRO_FPS = 100
SETTINGS = "sample.json"


@dataclass(frozen=True)
class Settings:
    """The settings that determine the bytes of the set."""

    identities: int
    clips: int
    frames: int
    size: int
    seed: int
    layouts: tuple[str, ...]
    version: int = 1
    variety: str = "plain"
    stride: int = 1

    @property
    def fps(self) -> Fraction:
        return Fraction(FPS, self.stride)

    def as_dict(self) -> dict:
        """As JSON: settings that a plain set does not need are left out, so that its bytes stay the same."""
        usual = {"variety": "plain", "stride": 1}
        return {name: value for name, value in asdict(self).items() if usual.get(name) != value}


@dataclass(frozen=True)
class Item:
    """One clip to draw; `micro` is the class of a micro-expression, or empty."""

    identity: int
    clip: int
    split: str
    micro: str = ""

    @property
    def person(self) -> str:
        return f"id{self.identity:03d}"

    @property
    def name(self) -> str:
        return f"{self.person}_{self.micro}" if self.micro else f"{self.person}#{self.clip:02d}"

    def truth(self, root: Path) -> Path:
        return root / ("micro/truth" if self.micro else "truth") / f"{self.name}.npz"

    def film(self, root: Path) -> Path:
        return root / self.split / f"{self.name}.mp4"

    def outputs(self, root: Path) -> list[Path]:
        """The files of a clip that are written atomically; a micro-expression has frames instead of a video."""
        return [self.truth(root)] if self.micro else [self.film(root), self.truth(root)]


def main() -> int:
    args = read_arguments()
    if args.sheets:
        for path in sheets.write(args.sheets, args.identities, args.seed, args.variety):
            print(path)
        return 0
    if args.check and (args.out / SETTINGS).is_file():
        settings = read_settings(args.out / SETTINGS)
    else:
        names = tuple(name for name in (*LAYOUTS, *FURTHER_LAYOUTS) if name in args.layouts)
        settings = Settings(
            args.identities, args.clips, args.frames, args.size, args.seed, names,
            variety=args.variety, stride=args.stride,
        )  # fmt: skip
    items = list_items(settings)
    summary = make(args, settings, items)
    if summary.failed:
        return 1
    return run_check(args.out, settings, items) if args.check else 0


def make(args: argparse.Namespace, settings: Settings, items: list[Item]) -> jobs.Summary:
    """Draw missing clips, then write the tables that need all clips."""
    root = args.out
    keep_settings(root / SETTINGS, settings, args.overwrite)
    summary = jobs.run(
        partial(draw_item, root=root, settings=settings),
        items,
        name=lambda item: item.name,
        done=lambda item: item.truth(root).is_file(),
        output=lambda item: item.outputs(root),
        title="draw people",
        args=args,
        failures=root / "failures.csv",
    )
    print(summary)
    if not summary.failed and args.shard == WHOLE:
        write_tables(root, settings, items)
        text = describe(root, settings)
        write_text(root / "README.txt", text)
        print(text, end="")
    return summary


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("dataset/sample"),
        metavar="FOLDER",
        help="where the set goes (default: %(default)s)",
    )
    add_set_options(add)
    add(
        "--check", action="store_true", help="measure whether the people are good enough to learn from; status 1 if not"
    )
    add(
        "--sheets",
        type=Path,
        metavar="FOLDER",
        help="only draw the contact sheets sample.png and sample_units.png there",
    )
    jobs.add_options(parser)
    args = parser.parse_args()
    if args.size % 2 or args.size < 32:
        parser.error(f"--size {args.size}: use an even number of at least 32")
    if args.layouts is None:
        args.layouts = ["motion"] if args.variety == "rich" else list(LAYOUTS)
    if args.variety == "rich" and set(args.layouts) - set(RICH_LAYOUTS):
        parser.error(f"--variety rich: choose from the layouts {', '.join(RICH_LAYOUTS)}")
    return args


def add_set_options(add: Callable) -> None:
    """Declare the options that determine the bytes of the set; `add` is a parser's add_argument."""
    add("--identities", type=count, default=12, help="people; every fourth is for testing (default: %(default)s)")
    add("--clips", type=count, default=4, help="clips of each person (default: %(default)s)")
    add("--frames", type=count, default=60, help=f"frames of each clip, {FPS} a second (default: %(default)s)")
    add("--size", type=count, default=256, help="side of the pictures, an even number (default: %(default)s)")
    add("--seed", type=int, default=0, help="another seed draws other people (default: %(default)s)")
    add(
        "--variety",
        choices=VARIETIES,
        default="plain",
        help="rich: scenes, cameras, lamps, accessories, large turns, phones (default: %(default)s)",
    )
    add("--stride", type=count, default=1, help="draw every n-th frame only (default: %(default)s)")
    add(
        "--layouts",
        nargs="*",
        choices=(*LAYOUTS, *FURTHER_LAYOUTS),
        help=f"folders beside the mp4 clips and the truth (default: {' '.join(LAYOUTS)}; rich sets: motion)",
    )


def split_of(identity: int, identities: int) -> str:
    """The test split: every fourth person, or the last one if there are fewer."""
    return "test" if identity % 4 == 3 or (1 < identities < 4 and identity == identities - 1) else "train"


def list_items(settings: Settings) -> list[Item]:
    """All clips of all persons, and of weak expressions."""
    items = []
    for identity in range(settings.identities):
        split = split_of(identity, settings.identities)
        items += [Item(identity, clip, split) for clip in range(settings.clips)]
        if "micro" in settings.layouts:
            kinds = list(MICRO)
            first = identity % len(kinds)
            items += [Item(identity, k, split, kinds[(first + k) % len(kinds)]) for k in range(min(2, settings.clips))]
    # Two people alternate, so that each of two workers mostly stays with one person, built only once.
    return sorted(items, key=lambda item: (item.identity // 2, bool(item.micro), item.clip, item.identity))


def keep_settings(path: Path, settings: Settings, overwrite: bool) -> None:
    """Refuse to mix clips of different settings in one folder."""
    if path.is_file() and not overwrite and read_settings(path) != settings:
        raise UserError(
            f"{path}: this folder contains a set with other settings ({path.read_text(encoding='utf-8').strip()}); "
            "choose another --out, or --overwrite to draw everything again"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(settings.as_dict()) + "\n")


def read_settings(path: Path) -> Settings:
    """The settings stored in a folder."""
    what, remedy = "not the settings of a sample set", "remove it and draw the set again"
    with reading(path, what, remedy):
        values = read_json(path, what, remedy)
        return Settings(**{**values, "layouts": tuple(values["layouts"])})


def draw_item(item: Item, root: Path, settings: Settings) -> None:
    """Draw one clip and write it in every layout; the truth is written last and marks the clip as done."""
    import cv2

    cv2.setNumThreads(1)
    (draw_micro if item.micro else draw_clip)(item, root, settings)


def draw_clip(item: Item, root: Path, settings: Settings) -> None:
    """Draw one clip of a person and write it in every requested layout."""
    rng = np.random.default_rng([settings.seed, item.identity, item.clip])
    # An integer rate is stored as an integer, as in earlier versions of the truth.
    fps = float(settings.fps) if settings.stride > 1 else FPS
    identity = person(settings.seed, item.identity, settings.variety).identity
    act = perform_rich if settings.variety == "rich" else perform
    performance = act(rng, settings.frames, fps, item.clip, identity.masculine)
    frames, truth = render_clip(settings.seed, item.identity, performance, settings.size, fps)
    # With a few frames per second there is no speech.
    sound = synthesise(performance.voice, settings.frames / FPS, rng) if settings.stride == 1 else None
    write_film(item.film(root), frames, settings.fps, sound)
    if "frames" in settings.layouts:
        layouts.frames_and_keypoints(root, item.split, item.name, frames, truth)
    if "aus" in settings.layouts:
        layouts.unit_pictures(root / "aus", item.name.replace("#", "_"), frames, truth)
    if "talking_head" in settings.layouts:
        layouts.talking_head(root / "talking_head", item.split, item.person, item.clip, frames, truth)
    if "short" in settings.layouts:
        layouts.short_clips(root / "short", item.split, item.name, frames, truth)
    if "motion" in settings.layouts:
        motion_truth(truth, rng).save(root / "motion" / f"{item.name}.npz")
    truth.save(item.truth(root))


def micro_performance(item: Item, settings: Settings):
    """Motion and (onset, apex, offset) of a micro-expression: a function of the seed, so tables need no stored
    values."""
    rng = np.random.default_rng([settings.seed, item.identity, item.clip, 99])
    return perform_micro(rng, max(12, settings.frames * 2 // 5), item.micro)


def draw_micro(item: Item, root: Path, settings: Settings) -> None:
    """Draw one clip of a weak expression."""
    performance, _ = micro_performance(item, settings)
    frames, truth = render_clip(settings.seed, item.identity, performance, settings.size, MICRO_FPS)
    layouts.micro_frames(root / "micro", item.split, item.name, frames)
    truth.save(item.truth(root))


def write_tables(root: Path, settings: Settings, items: list[Item]) -> None:
    """Lists and tables over all clips."""
    if "aus" in settings.layouts:
        clips = {"train": [], "test": []}
        for item in items:
            if not item.micro:
                clips[item.split].append((item.name.replace("#", "_"), Truth.load(item.truth(root))))
        layouts.unit_tables(root / "aus", clips)
    if "micro" in settings.layouts:
        rows = []
        for item in items:
            if item.micro:
                performance, (onset, apex, offset) = micro_performance(item, settings)
                whose = {"name": item.name, "split": item.split, "subject": item.identity + 1, "kind": item.micro}
                rows.append({**whose, "frames": len(performance), "onset": onset, "apex": apex, "offset": offset})
        layouts.micro_tables(root / "micro", rows)


def describe(root: Path, settings: Settings) -> str:
    """The text of README.txt."""
    lines = [
        f"{settings.identities} drawn people, {settings.clips} clips each, {settings.frames} frames at "
        f"{float(settings.fps):g} fps, "
        f"{settings.size} x {settings.size}; seed {settings.seed}. Every fourth person is for testing.",
        f"In {root}:",
        "  train, test               mp4 clips <person>#<clip>.mp4 with sound (first-order models)",
        "  truth                     the truth of each clip: landmarks, units, pose, masks (docs/sample.md)",
    ]
    texts = {
        "frames": "  <split>_data, _keypoints  frames and 68 points (edge-guided animation)",
        "aus": "  aus                       imgs, aus_openface.pkl, id lists, openface/*.csv (GANimation)",
        "talking_head": "  talking_head              person/video/frame with metadata.npz (few-shot talking heads)",
        "motion": "  motion                    dense motion between frames (--dataset_mode drawn)",
        "short": "  short                     clips of 20 frames cut to the face (facial prior's small configuration)",
        "micro": f"  micro                     weak expressions at {MICRO_FPS} fps with coding.csv (facial prior)",
    }
    lines += [text for name, text in texts.items() if name in settings.layouts]
    return "\n".join(lines) + "\n"


def run_check(root: Path, settings: Settings, items: list[Item]) -> int:
    """Print every target with its measured value."""
    clips = [(item.film(root), item.truth(root)) for item in items if not item.micro]
    results = check.run(clips, settings.seed, settings.variety)
    width = max(len(result.title) for result in results)
    for result in results:
        print(f"{'pass' if result.passed else 'FAIL'}  {result.title:<{width}}  {result.measured}  (bar: {result.bar})")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    run_main(main)
