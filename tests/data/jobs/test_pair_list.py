"""Lists of pairs: what is refused, what results are called, where they go."""

from pathlib import Path

import pytest

from data.jobs.pair_list import read_pairs, unique_names
from util.errors import UserError


def pairs(tmp_path, rows, header="source,driving,frame,output", **settings):
    table = tmp_path / "pairs.csv"
    table.write_text(f"{header}\n{rows}\n")
    return read_pairs(table, tmp_path / "results", **settings)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,b.mp4,-3,", "line 2: frame: '-3' is not a whole number of at least 0"),
        ("a.png,b.mp4,2.5,", "line 2: frame: .*not a whole number"),
        ("a.png,results/b.mp4,,b.mp4", "line 2: output .*b.mp4 is, or contains, an input"),
        ("a.png,b.mp4,,c.mp4\na.png,results/c.mp4,,d.mp4", "line 2: output .*c.mp4 is, or contains, an input"),
        ("a.png,b.mp4,,result.mp5", "line 2: output .*result.mp5: unknown suffix; use one of .mp4"),
        ("a.png,b.mp4,,.", "line 2: output . is not a file name"),
        ("a.png,b.mp4,,\na.png,b.mp4,1,", "line 3: same result name b-a.mp4 as line 2; .*column output"),
        ("a.png,b.mp4,,\nc.png,d.mp4,,b-a", "line 3: same result name b-a.mp4 as line 2"),
    ],
)
def test_invalid_rows_are_refused(tmp_path, row, words):
    with pytest.raises(UserError, match=words):
        pairs(tmp_path, row)


def test_a_folder_of_frames_must_not_overwrite_its_inputs(tmp_path):
    assert pairs(tmp_path, "results/in/a.png,b.mp4,,in", format="mp4")
    with pytest.raises(UserError, match="line 2: output .*in is, or contains, an input"):
        pairs(tmp_path, "results/in/a.png,b.mp4,,in", format="png")


def test_all_errors_are_reported_at_once(tmp_path):
    with pytest.raises(UserError) as told:
        pairs(tmp_path, "a.png,,,\na.png,b.mp4,x,../b\na.png,c.mp4,,c\n,,,\na.png,d.mp4,,d.mp5")
    lines = str(told.value).splitlines()
    assert "4 errors" in lines[0] and len(lines) == 5
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 2", "line 3", "line 3", "line 6"]


@pytest.mark.parametrize("output", ["../c.mp4", "in/../../c", "{elsewhere}/c.mp4"])
def test_outputs_leave_the_results_folder_with_allow_outside_alone(tmp_path, output):
    row = f"a.png,b.mp4,,{output.format(elsewhere=tmp_path)}"
    with pytest.raises(UserError, match="line 2: output .*c.* is outside the results folder .*--allow_outside"):
        pairs(tmp_path, row)
    (request,) = pairs(tmp_path, row, allow_outside=True)
    assert request.output.resolve() == tmp_path / "c.mp4"


def test_outputs_within_the_results_folder_may_be_absolute(tmp_path):
    (request,) = pairs(tmp_path, f"a.png,b.mp4,,{tmp_path / 'results' / 'in' / 'b.gif'}")
    assert request.output == tmp_path / "results" / "in" / "b.gif" and request.name == "in/b"


@pytest.mark.parametrize(
    ("format", "names"),
    [("mp4", ["x.mp4", "in/y.gif", "b-a.mp4"]), ("png", ["x", "in/y.gif", "b-a"])],
)
def test_the_format_gives_the_suffix_where_there_is_none(tmp_path, format, names):
    found = pairs(tmp_path, "a.png,b.mp4,,x\na.png,b.mp4,,in/y.gif\na.png,b.mp4,,", format=format)
    assert [str(each.output.relative_to(tmp_path / "results")) for each in found] == names
    assert [each.name for each in found] == ["x", "in/y", "b-a"]
    assert [each.recorded for each in found] == [{"line": n, "source": "a.png", "driving": "b.mp4"} for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ([("b.mp4", "a.png"), ("c.mp4", "a.png")], ["b-a", "c-a"]),
        # as VoxCeleb has it
        ([("p/x/1.mp4", "a.png"), ("p/y/1.mp4", "a.png")], ["x_1-a", "y_1-a"]),
        ([("p/x/1.mp4", "a.png"), ("q/x/1.mp4", "a.png")], ["p_x_1-a", "q_x_1-a"]),
        ([("p/1.mp4", "k/a.png"), ("p/1.mp4", "l/a.png")], ["1-k_a", "1-l_a"]),
        ([("1.mp4", "a.png"), ("1.mov", "a.png")], ["1.mp4-a", "1.mov-a"]),
        ([("p/1.mp4", "a.png"), ("q/1.mp4", "a.png"), ("q/1.mov", "a.png")], ["p_1-a", "q_1-a", "1.mov-a"]),
        # a name that was made longer may be another one's already
        ([("x/1.mp4", "a.png"), ("y/1.mp4", "a.png"), ("z/x_1.mp4", "a.png")], ["p_x_1-a", "y_1-a", "z_x_1-a"]),
        ([("a-b.mp4", "c.png"), ("a.mp4", "b-c.png")], ["a-b.mp4-c.png", "a.mp4-b-c.png"]),
        ([("1.mp4", "a.png"), ("1.mp4", "a.png")], ["1-a", "1-a"]),
        ([("1.mp4",), ("x/1.mp4",)], ["p_1", "x_1"]),
    ],
)
def test_results_are_named_after_their_inputs(tmp_path, monkeypatch, files, names):
    (tmp_path / "p").mkdir()
    monkeypatch.chdir(tmp_path / "p")
    assert unique_names([tuple(map(Path, each)) for each in files]) == names


def test_missing_files_are_reported_at_the_start(tmp_path, caplog):
    (tmp_path / "a.png").touch()
    assert len(pairs(tmp_path, "a.png,b.mp4,,\na.png,c.mp4,,")) == 2
    assert "no such file: line 2: " in caplog.text and "b.mp4; line 3: " in caplog.text
    assert "a.png" not in caplog.text.replace("b-a.png", "")


def test_a_linked_results_folder_does_not_allow_escaping(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")
    (request,) = pairs(tmp_path, "a.png,b.mp4,,x")
    assert request.output == tmp_path / "results" / "x.mp4"
    (request,) = pairs(tmp_path, f"a.png,b.mp4,,{tmp_path / 'disk' / 'x.mp4'}")
    assert request.output == tmp_path / "disk" / "x.mp4"


def test_overlong_names_are_reported_as_missing_files(tmp_path, caplog):
    (request,) = pairs(tmp_path, f"{'x' * 300}.png,b.mp4,,c")
    assert request.sources[0].parent == tmp_path and "no such file: line 2" in caplog.text
