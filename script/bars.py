"""Print the bars of measurements line by line; the exit status tells whether all were kept."""

from collections.abc import Iterable


def report_bars(bars: Iterable[tuple[str, bool]]) -> int:
    """Print each bar with whether it is kept; status 1 if one is missed."""
    status = 0
    for text, kept in bars:
        print(f"{'kept  ' if kept else 'MISSED'}  {text}")
        status = status if kept else 1
    return status
