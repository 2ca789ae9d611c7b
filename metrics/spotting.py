"""Spotting expressions: agreement of intervals spotted in the results with annotated ones."""

from collections.abc import Mapping
from pathlib import Path

from data.video import VIDEO_SUFFIXES
from metrics.metric import Batch, Columns, Metric, Video
from metrics.parts.tools import Tools
from util.cells import read_dicts
from util.errors import UserError
from util.reading import reading

MIN_IOU = 0.5
KINDS = ("macro", "micro")
Interval = tuple[int, int]
"""Onset and offset, both included."""


class Spotting(Metric):
    """Intervals come from another program's tables; each can match one annotation only."""

    name = "spotting"
    says = f"F1 of spotted intervals over all videos together, true where IoU >= {MIN_IOU}; macro and micro apart"
    used_by = "challenges on spotting micro-expressions"
    better = "higher"
    needs = ()
    in_time = True
    tables = ("spotted", "annotated")
    settings = {"least IoU": MIN_IOU, "matching": "one to one, best first", "pooled": "counts of all videos"}

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._spotted, self._annotated = (read_intervals(tools, option) for option in ("spotted", "annotated"))
        self._video = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """None: this metric has no value per frame."""
        return ()

    def begin(self, video: Video) -> None:
        """Start a video."""
        self._video = _without_suffix(video.name)

    def update(self, batch: Batch) -> Columns:
        """Nothing per frame."""
        return {}

    def finish(self) -> dict[str, float]:
        """Counts of this video; only their sums over all videos give a score."""
        counts: dict[str, float] = {}
        for kind in KINDS:
            spotted, annotated = (table.get((self._video, kind), []) for table in (self._spotted, self._annotated))
            true = matches(spotted, annotated)
            counts |= {f"_{kind}.true": true, f"_{kind}.spotted": len(spotted), f"_{kind}.annotated": len(annotated)}
        return counts

    def totals(self, videos: list[Mapping[str, float]]) -> dict[str, float]:
        """Precision, recall and F1 of both kinds together, then of each kind."""
        sums = {name: sum(one.get(name, 0) for one in videos) for kind in KINDS
                for name in (f"_{kind}.true", f"_{kind}.spotted", f"_{kind}.annotated")}  # fmt: skip
        groups = {self.name: KINDS} | {f"{self.name}.{kind}": (kind,) for kind in KINDS}
        found: dict[str, float] = {}
        for name, kinds in groups.items():
            true, spotted, annotated = (
                sum(sums[f"_{kind}.{part}"] for kind in kinds) for part in ("true", "spotted", "annotated")
            )
            # 2 P R / (P + R), without division by 0.
            found[name] = 2 * true / (spotted + annotated) if spotted + annotated else float("nan")
            found[f"{name}.precision"] = true / spotted if spotted else float("nan")
            found[f"{name}.recall"] = true / annotated if annotated else float("nan")
        return found


def overlap(one: Interval, other: Interval) -> float:
    """Intersection over union of two intervals."""
    common = min(one[1], other[1]) - max(one[0], other[0]) + 1
    return max(0, common) / (one[1] - one[0] + other[1] - other[0] + 2 - max(0, common))


def matches(spotted: list[Interval], annotated: list[Interval]) -> int:
    """Number of true positives; pairs are matched in order of decreasing IoU."""
    pairs = sorted(((overlap(one, other), i, j) for i, one in enumerate(spotted) for j, other in enumerate(annotated)),
                   reverse=True)  # fmt: skip
    taken: tuple[set, set] = (set(), set())
    for iou, i, j in pairs:
        if iou >= MIN_IOU and i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
    return len(taken[0])


def _without_suffix(name: str) -> str:
    """The name of a video; tables of other programs write some with the suffix of the file."""
    suffix = next((suffix for suffix in VIDEO_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def read_intervals(tools: Tools, option: str) -> dict[tuple[str, str], list[Interval]]:
    """(video, kind) -> intervals, from a csv with the columns video, onset, offset and kind."""
    if option not in tools.tables:
        raise UserError(f"spotting: set --{option} to the csv of intervals (video, onset, offset, kind)")
    path = Path(tools.tables[option])
    intervals: dict[tuple[str, str], list[Interval]] = {}
    _, rows = read_dicts(path, f"--{option} {path}")
    for line, row in rows:
        what = f"line {line}: needs the columns video, onset, offset, kind with whole numbers"
        with reading(path, what, "correct it"):
            key, interval = (
                (_without_suffix(row["video"]), row.get("kind") or "micro"),
                (int(row["onset"]), int(row["offset"])),
            )
        if key[1] not in KINDS or interval[1] < interval[0]:
            raise UserError(f"{path}: line {line}: kind is one of {', '.join(KINDS)}, onset <= offset")
        intervals.setdefault(key, []).append(interval)
    return intervals
