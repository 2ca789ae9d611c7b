"""Small plots in pages."""

import re

from util.plots import MOST, WIDTH, legend, plot


def points(svg):
    return [
        [tuple(map(float, one.split(","))) for one in line.split()] for line in re.findall(r'points="([^"]*)"', svg)
    ]


def test_a_curve_spans_the_plot_and_breaks_where_there_is_no_value():
    lines = points(plot("l1", {"a": [0.0, 1.0, None, 0.5, float("nan"), 1.0, 0.0]}))
    assert [len(line) for line in lines] == [2, 2, 2], "one frame alone is drawn as a dot: its point twice"
    assert lines[0][0][0] == 0 and lines[-1][-1][0] == WIDTH
    assert lines[0][0][1] > lines[0][1][1], "up is more"


def test_a_long_curve_keeps_its_peaks_and_few_points():
    values = [0.0] * 20_000
    values[7777] = 5.0
    (line,) = points(plot("x", {"a": values}))
    assert len(line) <= MOST and min(y for _, y in line) == min(y for _, y in points(plot("x", {"a": [0.0, 5.0]}))[0])


def test_empty_curves_draw_nothing_and_names_are_escaped():
    assert plot("x", {"a": [None, float("nan")]}) == "" and plot("x", {"a": []}) == ""
    assert "<b>" not in plot("<b>", {"<b>": [1.0, 2.0]}) + legend(["<i>"]).replace("<b style", "")


def test_several_curves_share_a_scale_and_have_a_colour_each():
    svg = plot("l1", {"A": [0.0, 1.0], "B": [2.0, 4.0, 0.0]})
    first, second = points(svg)
    assert second[1][1] < first[1][1], "4 is above 1"
    assert second[2][0] == WIDTH and first[1][0] == WIDTH / 2, "frames stand above each other"
    assert len(set(re.findall(r'stroke="(#\w+)"', svg))) == 2 and svg.count("<title>") == 2
    assert re.findall(r"color:(#\w+)", legend(["A", "B"])) == re.findall(r'stroke="(#\w+)"', svg)
