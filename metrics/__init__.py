"""Metrics, found by name: "ssim/gauss" is a class in metrics/ssim.py whose `name` is "ssim/gauss"."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache

from metrics.metric import Metric
from util.errors import UserError

__all__ = ["Metric", "find_metric", "find_metrics", "metric_names", "variants"]


@cache
def _classes() -> dict[str, type[Metric]]:
    modules = [importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
    return {
        value.name: value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Metric) and value.name and value.__module__ == module.__name__
    }


def metric_names() -> list[str]:
    """All metrics, by name."""
    return sorted(_classes())


def variants(base: str) -> dict[str, type[Metric]]:
    """All metrics with the same base name (before the slash), e.g. {"ssim/gauss": ..., "ssim/win7": ...}."""
    return {name: kind for name, kind in sorted(_classes().items()) if name.split("/")[0] == base}


def find_metric(name: str) -> type[Metric]:
    """The class of a metric; an ambiguous base name raises an error that lists the variants."""
    if name in _classes():
        return _classes()[name]
    if family := variants(name):
        lines = "".join(f"\n  {full}: {kind.says}. Used by: {kind.used_by}" for full, kind in family.items())
        raise UserError(f"--metrics {name}: the name is ambiguous; choose one:{lines}")
    nearest = get_close_matches(name, metric_names(), 1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise UserError(f"--metrics {name}: no such metric.{hint} Available: {', '.join(metric_names())}")


def find_metrics(names: Sequence[str]) -> list[type[Metric]]:
    """The classes of several metrics without duplicates, in the given order.

    `names` are those of --metrics. The name of a group (`Metric.group`) selects all of its metrics: "theval" means
    every theval/... metric.
    """
    wanted = {}
    for name in names:
        family = variants(name)
        grouped = family if name not in family and all(kind.is_group for kind in family.values()) else {}
        wanted.update(grouped or {name: find_metric(name)})
    if not wanted:
        raise UserError(f"--metrics: choose at least one of {', '.join(metric_names())}")
    return list(wanted.values())
