"""Protocols: metrics, pairs, size and averaging of published tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from metrics import find_metrics
from util.errors import UserError
from util.reading import reading
from util.yaml_file import read_yaml_file

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "protocols"
MODES = ("reconstruction", "animation")
WEIGHTINGS = ("frames", "videos")


@dataclass(frozen=True)
class Protocol:
    """The definition of a protocol."""

    name: str
    says: str
    metrics: tuple[str, ...]
    mode: str = "reconstruction"
    weighting: str = "frames"
    """What the main column averages over: all frames, or the means of the videos."""
    size: int | None = None
    """Size of the frames; None: unchanged."""
    source: str = ""
    """Publication or program that defines the protocol."""
    steps: tuple[str, ...] = ()
    """Commands to run before measuring."""
    caveats: tuple[str, ...] = ()
    """Possible differences from published results."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """{"source": publication, "rows": {method: {metric: value}}}."""

    def facts(self) -> dict[str, Any]:
        """The protocol as data, for metrics.json."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "steps"}


def protocol_names() -> list[str]:
    """All protocols, by name."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_protocol(name: str) -> Protocol:
    """A protocol by name, or by the path of its YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        nearest = get_close_matches(name, protocol_names(), 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--protocol {name}: no such protocol.{hint} Available: {', '.join(protocol_names())}")
    return read_protocol(path)


def choose_protocol(
    name: str | None, metrics: Sequence[str] = (), size: int | None = None, *, has_truth: bool
) -> Protocol:
    """The named protocol with the command's overrides; without a name, the command's settings only."""
    mode = "reconstruction" if has_truth else "animation"
    protocol = find_protocol(name) if name else Protocol("none", "as the command says", (), mode)
    if protocol.mode == "reconstruction" and not has_truth:
        raise UserError(
            f"--protocol {name}: it compares results with the truth, which is missing: use --mode reconstruction of "
            f"test.py, or --real of script/evaluate.py"
        )
    if metrics:
        find_metrics(metrics)
    return replace(protocol, metrics=tuple(metrics or protocol.metrics), size=size or protocol.size)


def without_motion(protocol: Protocol, named: Sequence[str]) -> Protocol:
    """The protocol without metrics of the dense motion, which is unknown; an error if they were `named`."""
    of_motion = [kind.name for kind in find_metrics(protocol.metrics) if kind.of_motion]
    if asked := [name for name in of_motion if name in named]:
        raise UserError(
            f"--metrics {asked[0]}: the dense motion behind the frames is unknown: use a family that moves pixels "
            f"with test.py, or --motion FOLDER of script/evaluate.py, or remove the metric"
        )
    return replace(protocol, metrics=tuple(name for name in protocol.metrics if name not in of_motion))


def read_protocol(path: Path) -> Protocol:
    """Read and validate a YAML file."""
    content = read_yaml_file(path)
    known = {name for name in Protocol.__dataclass_fields__ if name != "name"}
    if not isinstance(content, dict) or set(content) - known or not {"says", "metrics"} <= set(content):
        odd = f"; unknown: {', '.join(sorted(map(str, set(content) - known)))}" if isinstance(content, dict) else ""
        raise UserError(f"{path}: a protocol has says and metrics, and may have {', '.join(sorted(known))}{odd}")
    with reading(path, "not a protocol", "see docs/evaluation.md"):
        return _protocol(path, content)


def _protocol(path: Path, content: Mapping[str, Any]) -> Protocol:
    for name, allowed in (("mode", MODES), ("weighting", WEIGHTINGS)):
        if content.get(name, allowed[0]) not in allowed:
            raise UserError(f"{path}: {name} is one of {', '.join(allowed)}, not {content[name]!r}")
    if content.get("published") and not content["published"].get("source"):
        raise UserError(f"{path}: published numbers need their source")
    lists = {
        name: _texts(path, name, content[name] or []) for name in ("metrics", "steps", "caveats") if name in content
    }
    if not (content.get("size") is None or type(content["size"]) is int and content["size"] > 0):
        raise UserError(f"{path}: size is a number of pixels above 0, not {content['size']!r}")
    rows = (content.get("published") or {}).get("rows", {})
    if not (isinstance(rows, Mapping) and all(isinstance(values, Mapping) for values in rows.values())):
        raise UserError(f"{path}: the rows of published are of the form METHOD: {{METRIC: VALUE}}")
    try:
        find_metrics(lists["metrics"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Protocol(path.stem, **{**content, **lists})


def _texts(path: Path, name: str, content: Any) -> tuple[str, ...]:
    if not (isinstance(content, list) and all(isinstance(item, str) for item in content)):
        raise UserError(f"{path}: {name} is a list of texts, such as [l1, psnr], not {content!r}")
    return tuple(content)
