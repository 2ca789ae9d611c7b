"""Compare each metric with its original or a library, on the same frames: values, difference, versions.

Writes a Markdown table (docs/calibration.md) and a second table of published numbers: the paper's, and the result of
the named command here if released checkpoints and data are available.
"""

import argparse
import json
import re
import sys
import tempfile
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from metrics.evaluation.results import to_line
from script.calibration.references import Reference, lpips_references, references, trunk_path, write_trunk
from util.errors import UserError, run_main
from util.files import write_text
from util.reading import reading
from util.values import at_least
from util.yaml_file import read_yaml_file

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256
FEWEST = 3
"""Frames that jitter needs."""
HEAD = """# Calibration

Each metric against its original or a library on the same frames. `python script/calibrate.py` writes this page.

Frames: {shown}, {side} x {side}; the results are moved by 0 to 3 pixels to the right, and noisy (sigma 4 of 255).

| metric | ours | theirs | difference | program | |
| --- | ---: | ---: | ---: | --- | --- |"""
MIDDLE = """{missing}
Without a second implementation at hand: `warp_error`, `pose`, `au` and `spotting` (their tests hold them against plain
loops and drawn truth), and what needs weights that must be fetched: `fid`, `kid`, `fvd`, `akd`, `aed/openface-*`,
`csim/arcface`, the qualities of `theval`.

## Published numbers

Filled in wherever released checkpoints and data are at hand: run the command, then this script with `--results`. The
list is `docs/published.yaml`; a number stands there only with the page that prints it.

| published in | data | metric | published | ours | command |
| --- | --- | --- | ---: | ---: | --- |"""
EPILOG = """examples:
  python script/calibrate.py                              # a drawn person; writes docs/calibration.md
  python script/calibrate.py --video talk.mp4 --out calibration.md
  python script/calibrate.py --results eval_results       # fills in what test.py measured of released checkpoints

Libraries that are not installed are left out and named: pip install -r requirements-metrics.txt piq lpips"""


def main() -> int:
    args = read_arguments()
    generated, real, shown = frames_of(args)
    with tempfile.TemporaryDirectory() as folder:
        rows, missing = compared(generated, real, Path(folder))
    published = published_rows(args.published, args.results)
    write_text(args.out, document(rows, missing, published, shown))
    far = [row["metric"] for row in rows if not row["agrees"]]
    print(
        f"{args.out}: {len(rows)} comparisons, {len(far)} beyond what is expected{': ' if far else ''}{', '.join(far)}"
    )
    if args.json:
        print(to_line({"compared": rows, "missing": missing, "published": published}))
    return 1 if far else 0


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--video", type=Path, metavar="FILE", help="frames of a face (default: a drawn person)")
    add("--frames", type=at_least(FEWEST), default=12, help="so many (default: %(default)s)")
    add("--out", type=Path, default=ROOT / "docs" / "calibration.md", metavar="FILE", help="(default: %(default)s)")
    add("--published", type=Path, default=ROOT / "docs" / "published.yaml", metavar="YAML", help="published numbers")
    add("--results", type=Path, metavar="FOLDER", help="results of the commands of that list: NAME/metrics.json")
    add("--json", action="store_true", help="end with everything as one line of JSON")
    return parser.parse_args()


def frames_of(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, str]:
    """A slightly wrong copy of some frames, the frames, and their description: (N, SIDE, SIDE, 3) uint8."""
    if args.video:
        from data.video import open_video
        from metrics.evaluation.pairing import squared

        with open_video(args.video) as video:
            if len(video) < FEWEST:
                raise UserError(f"--video {args.video}: has {len(video)} frames; at least {FEWEST} are compared")
            real = np.stack([squared(frame, SIDE) for frame in islice(video, args.frames)])
    else:
        from data.sample_faces import tiny_clip

        real = tiny_clip(identity=1, frames=args.frames, size=SIDE)[0]
    # Shifted by 0 to 3 pixels and noisy, so that every metric has something to measure.
    noise = np.random.default_rng(0).normal(0, 4, real.shape)
    moved = np.stack([np.roll(frame, index % 4, axis=1) for index, frame in enumerate(real)])
    generated = np.clip(moved + noise, 0, 255).round().astype(np.uint8)
    return (
        generated,
        real,
        args.video.name if args.video else "a drawn person (`data.sample_faces.tiny_clip`, identity 1)",
    )


def compared(generated: np.ndarray, real: np.ndarray, folder: Path) -> tuple[list[dict], list[str]]:
    """Our value and the reference's for every installed reference, and the packages that are missing."""
    wanted = [*references(), *lpips_references(folder)]
    missing = sorted({one.by for one in wanted if not one.is_installed})
    rows = [row_of(one, generated, real, folder) for one in wanted if one.is_installed]
    return rows, missing


def row_of(reference: Reference, generated: np.ndarray, real: np.ndarray, folder: Path) -> dict:
    """One line of the table."""
    if reference.metric.startswith("lpips/"):
        write_trunk(reference.metric.split("/")[1], folder)
    theirs, mine = reference.compute(generated, real), ours(reference.metric, generated, real, folder)
    difference = abs(mine - theirs) / max(abs(theirs), 1e-12)
    return {
        "metric": reference.metric, "ours": mine, "theirs": theirs, "relative": difference,
        "program": reference.program, "note": reference.note, "agrees": bool(difference <= reference.tolerance),
    }  # fmt: skip


def ours(name: str, generated: np.ndarray, real: np.ndarray, folder: Path) -> float:
    """The metric's value: the mean over the frames."""
    import torch

    from metrics.evaluation.measuring import Measurement
    from metrics.evaluation.results import totals
    from metrics.metric import Video
    from metrics.parts.tools import Tools
    from metrics.parts.weights import Weights

    given = {"lpips_trunk": trunk_path(name.split("/")[1], folder)} if name.startswith("lpips/") else {}
    measurement = Measurement([name], ["truth"], Tools(weights=Weights(given=given)), controls=False)
    with measurement.video(Video("calibration")) as measured:
        frames = [torch.from_numpy(one).permute(0, 3, 1, 2).float() / 255 for one in (generated, real)]
        measured.add(frames[0], truth=frames[1])
    total = totals([measured.record], measurement.metrics)[name]
    if total["missed"] or total["frames"] is None:
        raise UserError(f"--video: {name} cannot be measured in all of its frames; choose one with a clear face")
    return float(total["frames"])


def published_rows(path: Path, results: Path | None) -> list[dict]:
    """Published numbers, each with its command, and the command's result if it exists."""
    content = read_yaml_file(path)
    rows = []
    with reading(path, "not a list of published numbers", "see docs/published.yaml"):
        for entry in content:
            found = measured_by(entry["command"], results)
            for metric, value in entry["values"].items():
                total = found.get(metric, {}).get(entry.get("weighting", "frames"))
                ours = total if isinstance(total, int | float) else None
                rows.append({"source": entry["source"], "data": entry["data"], "metric": metric, "published": value,
                             "ours": ours, "command": entry["command"]})  # fmt: skip
    return rows


def measured_by(command: str, results: Path | None) -> dict:
    """The totals in a command's results folder, found by its --name."""
    name = re.search(r"--name[ =](\S+)", command)
    path = (results or Path("eval_results")) / name[1] / "metrics.json" if name else None
    if path is None or not path.is_file():
        return {}
    what = "not what test.py --metrics writes"
    with reading(path, what, "measure again"):
        total = json.loads(path.read_text(encoding="utf-8"))["total"]
        if not isinstance(total, dict):
            raise UserError(f"{path}: {what}")
        return total


def document(rows: list[dict], missing: list[str], published: list[dict], shown: str) -> str:
    """The page's text."""
    lines = [HEAD.format(shown=shown, side=SIDE)]
    for row in rows:
        note = row["note"] + ("" if row["agrees"] else " **beyond what is expected**")
        values = f"{row['ours']:.6g} | {row['theirs']:.6g} | {100 * row['relative']:.2g} %"
        lines.append(f"| `{row['metric']}` | {values} | {row['program']} | {note} |")
    lines.append(MIDDLE.format(missing=f"\nNot installed, so not compared: {', '.join(missing)}.\n" if missing else ""))
    for row in published:
        ours = "–" if row["ours"] is None else f"{row['ours']:.4g}"
        values = f"`{row['metric']}` | {row['published']} | {ours}"
        lines.append(f"| {row['source']} | {row['data']} | {values} | `{row['command']}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_main(main)
