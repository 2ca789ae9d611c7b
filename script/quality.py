"""Train every family's small configurations on drawn people, measure them, and write the tables of docs/quality.md.

A row per family and configuration: configs/tiny as documented, configs/small at 128 pixels; with --real also the
latter on clips of your own. Each row is measured with people whom it has not seen. The same command goes on where it
was stopped, and what was measured stays in docs/quality.json."""

import argparse
import csv
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from data.video import open_video
from data.video.images import write_image
from engine.signals import unwind_at_sigterm
from metrics.evaluation.results import JSON
from metrics.evaluation.tables import format_rows, shown
from util.errors import RunError, UserError, run_main
from util.files import write_text
from util.jsons import append_line, read_json, read_lines
from util.resizing import resize, to_bytes
from util.tiles import captioned

ROOT = Path(__file__).resolve().parents[1]
PAGE, NUMBERS, PICTURE = (ROOT / "docs" / f"quality.{suffix}" for suffix in ("md", "json", "png"))
KINDS = {"tiny": 64, "small": 128, "real": 128}
"""Kind of row -> side of its pictures; "real" trains configs/small on the clips of --real."""
DRAWN = (
    "python script/make_sample_dataset.py --out dataset/sample",
    "python script/make_sample_dataset.py --out dataset/sample_short --layouts short",
    "python script/kpmaker.py --in dataset/sample_short/short --default_points",
    "python script/pack_frames.py --in dataset/sample/train --out dataset/sample_64/train --size 64",
    "python script/pack_frames.py --in dataset/sample/train --out dataset/sample_128/train --size 128",
)
REAL = (
    "python script/prepare_videos.py --in {videos} --out dataset/real --size 128 --split 8/2 "
    "--layouts face talking_head",
)
ON_CLIPS = ("tps", "mraa", "fomm")
"""Families that learn from pairs of frames of a clip and follow each test clip from its first frame."""
PLACES = {
    **dict.fromkeys(ON_CLIPS, ("dataset/sample_{side}", "dataset/sample")),
    "face": ("dataset/sample", "dataset/sample"),
    "fomm_prior": ("dataset/sample_short/short", "dataset/sample_short/short"),
    "talking_head": ("dataset/sample/talking_head", "dataset/sample/talking_head"),
    "ganimation": ("dataset/sample/aus", "dataset/sample/aus"),
}
"""Family -> the drawn people it learns from, and those it is measured on."""
REAL_PLACES = {**dict.fromkeys((*ON_CLIPS, "face"), "dataset/real"), "talking_head": "dataset/real/talking_head"}
REAL_SCHEDULES = {
    "tps": "--steps 1200 --epoch_milestones 22 --freeze_norms 22",
    "mraa": "--steps 2000 --epoch_milestones 36 --freeze_norms 36",
    "fomm": "--steps 2000 --epoch_milestones 36 --freeze_norms 36",
    "face": "--niter 350 --niter_decay 350",
    "talking_head": "--steps 800",
}
"""About ten minutes of one core each. Clips of few people make short epochs, which milestones count."""
WITH_TRUTH = "--protocol sample --drawn_truth dataset/sample/truth --shard 1/4"
"""Every fourth of the twelve test clips: the first one of each of three people."""
MEASURED = {
    **dict.fromkeys((*ON_CLIPS, "face"), WITH_TRUTH),
    "fomm_prior": "--protocol real --shard 1/4",
    # Its frames are not consecutive: nothing that compares neighbours can be measured.
    "talking_head": "--metrics l1,ssim/gauss,akd/dlib,pose,id/dlib,face_missed",
}
UNITS = "AU12,AU25,AU26"
COLUMNS = {
    "landmarks, px": ("landmarks/truth", "akd/dlib"), "pose, °": ("pose/truth", "pose"),
    "motion of the face, px": ("motion/truth.face",), "identity": ("id/dlib",), "jitter": ("jitter.ratio",),
    "face missed": ("face_missed",),
}  # fmt: skip
"""Column of the tables -> the metric it shows, the first that was measured."""
EPILOG = """examples:
  python script/quality.py                              # all rows on drawn people, about three hours of one CPU core
  python script/quality.py --rows mraa_tiny,mraa_small
  python script/quality.py --real VIDEOS --rows mraa_real,tps_real    # configs/small on clips of your own
  python script/quality.py --list                       # the commands of all rows
  python script/quality.py --table                      # only write docs/quality.md of what is measured
  python script/quality.py --picture mraa_tiny,mraa_small             # results to look at, docs/quality.png"""

NOTHING = "Not measured yet."
SHOWN, TILE = 3, 96
"""Videos of a row in the picture, and the side of its tiles."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A family and a configuration."""

    family: str
    kind: str

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"{self.family}_{self.kind}"

    @property
    def config(self) -> str:
        """Its YAML file."""
        return f"configs/{'tiny' if self.kind == 'tiny' else 'small'}/{self.family}.yaml"

    @property
    def train(self) -> str:
        """The command that trains it."""
        folder, more = PLACES[self.family][0].format(side=KINDS[self.kind]), ""
        if self.kind == "real":
            folder, more = REAL_PLACES[self.family], f" {REAL_SCHEDULES[self.family]}"
        return f"python train.py --config {self.config} --dataroot {folder} --name {self.name}{more} --visdom=no"

    @property
    def measure(self) -> str:
        """The command that measures it."""
        if self.family == "ganimation":
            return (f"python script/measure_expressions.py --config {self.config} --name {self.name} --units {UNITS} "
                    f"--out output/{self.name}")  # fmt: skip
        folder, how = PLACES[self.family][1], MEASURED[self.family]
        if self.kind == "real":
            folder, how = REAL_PLACES[self.family], MEASURED[self.family].replace(WITH_TRUTH, "--protocol real")
        return (f"python test.py --name {self.name} --dataroot {folder} --mode reconstruction {how} "
                f"--results_dir eval_results/{self.name}")  # fmt: skip

    @property
    def clock(self) -> Path:
        """A line per attempt at training it: processor seconds and exit status."""
        return Path("result") / self.name / "cpu.jsonl"


def all_rows() -> list[Row]:
    """Every row, in the order of the tables."""
    rows = [Row(family, kind) for family in PLACES for kind in ("tiny", "small")]
    return rows + [Row(family, "real") for family in REAL_PLACES]


def main() -> int:
    args = read_arguments()
    if args.list:
        print("\n".join([*DRAWN, *REAL, *(command for row in all_rows() for command in (row.train, row.measure))]))
        return 0
    unwind_at_sigterm()
    os.chdir(ROOT)
    if args.picture:
        draw(chosen_rows(args.picture, has_videos=True))
        return 0
    if not args.table:
        wanted = chosen_rows(args.rows, args.real is not None)
        prepare(wanted, args.real)
        for row in wanted:
            measured = made(row)  # takes minutes: other rows may have been written meanwhile
            write_text(NUMBERS, json.dumps(measured_rows() | {row.name: measured}, indent=1) + "\n")
            write_page(measured_rows())
    write_page(measured_rows())
    print(f"{PAGE}: {len(measured_rows())} rows")
    return 0


def measured_rows() -> dict[str, Any]:
    """What is known of all rows so far."""
    return read_json(NUMBERS, "not the numbers of script/quality.py") if NUMBERS.exists() else {}


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--rows", metavar="NAME,...", help="make these rows only, such as mraa_tiny (default: all)")
    add("--real", type=Path, metavar="FOLDER", help="videos of people, for the rows ..._real")
    add("--picture", metavar="NAME,...", help="draw results of these rows into docs/quality.png, and do nothing else")
    add("--table", action="store_true", help="write docs/quality.md of what is measured, and do nothing else")
    add("--list", action="store_true", help="print the commands of all rows")
    return parser.parse_args()


def chosen_rows(named: str | None, has_videos: bool) -> list[Row]:
    """The rows to make; an error where a name is none, or its videos are missing."""
    rows = {row.name: row for row in all_rows()}
    names = [name.strip() for name in named.split(",")] if named else [
        name for name, row in rows.items() if has_videos or row.kind != "real"]  # fmt: skip
    for name in names:
        if name not in rows:
            raise UserError(f"--rows {name}: no such row; there are {', '.join(rows)}")
        if rows[name].kind == "real" and not has_videos:
            raise UserError(f"--rows {name}: name videos of people with --real FOLDER")
    return [rows[name] for name in names]


def prepare(rows: Sequence[Row], videos: Path | None) -> None:
    """Draw the people and cut the videos that the rows need; what is there already stays."""
    if any(row.kind != "real" for row in rows):
        for command in DRAWN:
            run(command)
    if any(row.kind == "real" for row in rows):
        for command in REAL:
            run(command.format(videos=shlex.quote(str(videos))))


def run(command: str) -> None:
    """Run a command of this project; an error ends everything."""
    log.info("%s", command)
    if subprocess.run(words_of(command)).returncode:
        raise RunError(f"failed, see above: {command}")


def words_of(command: str) -> list[str]:
    """A command as the table prints it, for this interpreter."""
    program, *words = shlex.split(command)
    return [sys.executable if program == "python" else program, *words]


def made(row: Row) -> dict[str, Any]:
    """Train and measure a row, as far as that is not done; what the tables know of it."""
    attempts = [entry for _, entry in read_lines(row.clock)[0]]
    if not attempts or attempts[-1]["status"]:
        attempts.append(trained(row, again=(row.clock.parent / "log.jsonl").exists()))
    run(row.measure)
    minutes = sum(attempt["seconds"] for attempt in attempts) / 60
    steps = max(entry["step"] for _, entry in read_lines(row.clock.parent / "log.jsonl")[0] if "step" in entry)
    told = {"family": row.family, "kind": row.kind, "steps": steps, "cpu_minutes": round(minutes, 1)}
    return told | {"train": row.train, "measure": row.measure} | numbers(row)


def trained(row: Row, again: bool) -> dict[str, Any]:
    """Train a row, or go on; the attempt, which is noted even where it was stopped."""
    command = row.train + (" --continue_train" if again else "")
    log.info("%s", command)
    process = subprocess.Popen(words_of(command))
    try:
        _, status, used = os.wait4(process.pid, 0)
    except (SystemExit, KeyboardInterrupt) as stop:
        if isinstance(stop, SystemExit):  # Ctrl-C has reached the training, too
            process.terminate()
        _, status, used = os.wait4(process.pid, 0)
        raise
    finally:
        attempt = {"seconds": used.ru_utime + used.ru_stime, "status": os.waitstatus_to_exitcode(status)}
        append_line(row.clock, attempt)
    if attempt["status"]:
        raise RunError(f"failed, see above: {command}")
    return attempt


def numbers(row: Row) -> dict[str, Any]:
    """What was measured of a row."""
    if row.family == "ganimation":
        with Path("output", row.name, "movements.csv").open(encoding="utf-8") as file:
            return {"units": list(csv.DictReader(file))}
    content = read_json(Path("eval_results") / row.name / JSON, "not what test.py --metrics writes")
    totals = {"result": content["total"], **content["controls"]}
    weighting = content["protocol"]["weighting"]
    return {"numbers": {which: {name: one[weighting] if one[weighting] is not None else one["videos"]
                                for name, one in total.items()}
                        for which, total in totals.items()}}  # fmt: skip


def write_page(known: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the tables between their marks in docs/quality.md."""
    write_text(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), known))


def with_tables(text: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with the tables of all rows that are measured."""
    rows = [known[row.name] for row in all_rows() if row.name in known]
    of_kind = partial(filter, lambda row: row["kind"] != "real")
    on_clips = [row for row in of_kind(rows) if row["family"] in (*ON_CLIPS, "face")]
    others = [row for row in of_kind(rows) if row["family"] in ("fomm_prior", "talking_head")]
    parts = {
        "drawn": table(on_clips), "others": table(others),
        "units": units_table([row for row in rows if "units" in row]),
        "real": table([row for row in rows if row["kind"] == "real"]), "commands": commands(rows),
    }  # fmt: skip
    for name, part in parts.items():
        text = filled(text, name, part)
    return text


def filled(text: str, name: str, part: str) -> str:
    """A text with what stands between two marks replaced."""
    before, opening, rest = text.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not closing:
        raise UserError(f"{PAGE}: the marks <!-- {name} --> and <!-- /{name} --> are missing; take the page of git")
    return f"{before}{opening}{part}\n{closing}{after}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row per configuration; in brackets the values of the first frame repeated, and of the truth itself."""
    head = ["row", "steps", "CPU min", "L1", "below repeating", "SSIM", *COLUMNS]
    return format_rows(head, [cells(row) for row in rows], "md") if rows else NOTHING


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row."""
    result, repeated, truth = (row["numbers"][which] for which in ("result", "first frame repeated", "truth"))
    name = f"`{row['family']}`, {row['kind']}"
    below = f"{100 * (1 - result['l1'] / repeated['l1']):.1f} %"
    found = [name, str(row["steps"]), f"{row['cpu_minutes']:.1f}", f"{result['l1']:.4f}", below]
    found.append(f"{result['ssim/gauss']:.3f} ({repeated['ssim/gauss']:.3f})")
    for metrics in COLUMNS.values():
        metric = next((one for one in metrics if result.get(one) is not None), None)
        controls = [] if metric is None else [repeated[metric]] + ([truth[metric]] if "/truth" in metric else [])
        known = ", ".join(shown(rounded(value)) for value in controls if value is not None)
        found.append(f"{shown(rounded(result[metric]))} ({known})" if controls else "")
    return found


def rounded(value: float | None) -> float | None:
    """Three significant digits."""
    return None if value is None else float(f"{value:.3g}")


def units_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """How movements follow the action units that a row was asked for."""
    body = [
        [f"`{row['family']}`, {row['kind']}", str(row["steps"]), f"{row['cpu_minutes']:.1f}", one["unit"],
         one["correlation"], one["positive"], f"{one['per_unit']} ({one['real_per_unit']})",
         f"{one['change_below']} / {one['change_above']}"]
        for row in rows for one in row["units"]
    ]  # fmt: skip
    head = ["row", "steps", "CPU min", "unit", "correlation", "follow", "per unit (real)", "change below / above"]
    return format_rows(head, body, "md") if rows else NOTHING


def draw(rows: Sequence[Row]) -> None:
    """Write a strip per row: of some videos the first frame, the one farthest from it, and what was made of that."""
    strips = [captioned(np.concatenate(tiles_of(row), axis=1), f"{row.family}, {row.kind}") for row in rows]
    width = max(strip.shape[1] for strip in strips)
    strips = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    write_image(PICTURE, np.concatenate(strips))
    print(f"{PICTURE}: {PICTURE.stat().st_size / 2**20:.1f} MB")


def tiles_of(row: Row) -> list[np.ndarray]:
    """First frame, truth and result of some videos of a row."""
    folder = Path("eval_results") / row.name
    files = read_json(folder / JSON, "not what test.py --metrics writes")["files"]
    names = sorted(files)
    tiles = []
    for index in np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int):
        truth, result = (frames_of(folder / files[names[index]][role]) for role in ("truth", "result"))
        far = int(np.abs(truth.astype(int) - truth[0]).mean((1, 2, 3)).argmax())
        tiles += [resize(frame, (TILE, TILE)) for frame in (truth[0], truth[far], result[far])]
    return [to_bytes(tile) for tile in tiles]


def frames_of(path: Path) -> np.ndarray:
    """All frames of a short video (N, H, W, 3)."""
    with open_video(path) as video:
        return np.stack(list(video))


def commands(rows: Sequence[Mapping[str, Any]]) -> str:
    """The commands of the rows, to copy."""
    lines = [line for row in rows for line in (row["train"], row["measure"])]
    return "\n".join(["```", *DRAWN, *REAL, "", *lines, "```"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_main(main)
