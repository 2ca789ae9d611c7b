"""Small plots in pages."""

import re

from util.plots import MOST, WIDTH, plot


def points(svg):
    return [
        [tuple(map(float, one.split(","))) for one in line.split()] for line in re.findall(r'points="([^"]*)"', svg)
    ]


def test_a_curve_spans_the_plot_and_breaks_where_there_is_no_value():
    lines = points(plot("l1", [0.0, 1.0, None, 0.5, float("nan"), 1.0, 0.0]))
    assert [len(line) for line in lines] == [2, 2, 2], "one frame alone is drawn as a dot: its point twice"
    assert lines[0][0][0] == 0 and lines[-1][-1][0] == WIDTH
    assert lines[0][0][1] > lines[0][1][1], "up is more"


def test_a_long_curve_keeps_its_peaks_and_few_points():
    values = [0.0] * 20_000
    values[7777] = 5.0
    (line,) = points(plot("x", values))
    assert len(line) <= MOST and min(y for _, y in line) == min(y for _, y in points(plot("x", [0.0, 5.0]))[0])


def test_nothing_is_drawn_of_nothing_and_names_are_escaped():
    assert plot("x", [None, float("nan")]) == "" and plot("x", []) == ""
    assert "<b>" not in plot("<b>", [1.0, 2.0])
