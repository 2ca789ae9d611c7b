"""Readers of text files with damaged input: one line that names the file, or skipped lines."""

import time

import pytest
import torch

import models.face.log
import models.ganimation.log
from data.video import open_video, read_image
from engine.records import Records
from engine.sinks import LogFile
from metrics.evaluation.pairing import listed_pairs
from metrics.evaluation.protocols import find_protocol
from options.files import read_yaml
from util.cells import read_cells, read_dicts
from util.errors import UserError
from util.files import path_exists
from util.jsons import read_json, read_lines
from util.reading import RAISED_BY_DAMAGE, reading


@pytest.mark.parametrize("kind", RAISED_BY_DAMAGE)
def test_errors_of_damaged_files_become_one_line_with_the_file_s_name(tmp_path, kind):
    try:
        error = kind("what is wrong\nin detail")
    except TypeError:  # UnicodeDecodeError and its like
        error = UnicodeDecodeError("utf-8", b"x", 0, 1, "what is wrong")
    with pytest.raises(UserError) as told, reading(tmp_path / "a.dat", "not a table", "make it again"):
        raise error
    assert str(told.value).startswith(f"{tmp_path}/a.dat: not a table (") and "\n" not in str(told.value)
    assert told.value.__cause__ is error


def test_mistakes_of_the_program_and_interruptions_pass():
    for error in (KeyboardInterrupt, NameError, ImportError):
        with pytest.raises(error), reading("a", "b"):
            raise error


YAMLS = {
    "day: 2021-99-99": "month must be in 1..12",
    "size: !!int x": "invalid literal",
    "deep: " + "[" * 5000: "(more than 40 nested lists and mappings|exceeded maximum nesting depth)",
    "deep: " + "{a: " * 5000: "more than 40 nested lists and mappings",
    "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    + "\n".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcde", "bcdef", strict=True)): (
        "more than 100000 values"
    ),
    "a: &a [*a]": r"\*a refers to itself",
    "a: *b": "refers to itself, or to nothing",
    "a: !!python/object/apply:os.system [ls]": "could not determine a constructor",
    "a: \0": "control characters",
    "a: 1\nb: 2\na: 3": "the key 'a' is there twice.*line 3",
    "? [a]\n: 1": "no plain value",
    "a: b: c": "mapping values are not allowed.*line 1, column 5",
}


@pytest.mark.parametrize("text", YAMLS, ids=range(len(YAMLS)))
def test_damaged_and_hostile_yaml_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"a.yaml: not readable as YAML .*{YAMLS[text]}"):
        read_yaml(path)
    with pytest.raises(UserError, match="a.yaml"):
        find_protocol(str(path))


def test_yaml_of_many_keys_is_read_at_once(tmp_path):
    """In proportion to the keys, whatever the speed of the machine: their square took half a minute for 20,000."""
    seconds = {}
    for count in (2_000, 20_000):
        (tmp_path / "a.yaml").write_text("\n".join(f"key{number}: {number}" for number in range(count)))
        start = time.process_time()
        assert len(read_yaml(tmp_path / "a.yaml")) == count
        seconds[count] = time.process_time() - start
    assert seconds[20_000] < 40 * seconds[2_000]


def test_merged_keys_of_yaml_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("base: &base {rate: 1e-4, size: 2}\nown:\n  <<: *base\n  size: 3\n")
    assert read_yaml(tmp_path / "a.yaml")["own"] == {"rate": 1e-4, "size": 3}


def test_damaged_lines_of_a_log_are_skipped_and_counted(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'{"step": 1}\n\xff\xfe\n{"step": "x"}\n[1]\n' + b"[" * 100_000 + b'\n{"step": 2, "l1": 0.5}\n{"step": 3'
    )
    lines, damaged = read_lines(path)
    assert [entry.get("step") for _, entry in lines] == [1, "x", 2] and damaged == 4
    LogFile(path, step=2)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2, "l1": 0.5}\n'
    assert "skipped 4 unreadable lines" in caplog.text
    assert read_lines(tmp_path / "absent") == ([], 0)


def test_damaged_lines_of_results_are_skipped_and_counted(tmp_path, caplog):
    (tmp_path / "a.mp4").touch()
    lines = [
        b'{"output": "a.mp4", "frames": 3}',
        b'{"output": 5}',
        b"\xff",
        b'{"output": "a\\u0000.mp4"}',
        b'{"frames"',
    ]
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines))
    assert [entry["frames"] for entry in Records(tmp_path, {}).entries()] == [3]
    assert "skipped 4 unreadable lines" in caplog.text


def test_damaged_json_is_refused(tmp_path):
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(UserError, match="a.json: no report"):
            read_json(tmp_path / "a.json", "no report")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n , \n", "is empty"),
        (b"a,b\n\xff,1\n", "not UTF-8"),
        (b"a,b\n\0,1\n", "NUL byte"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "cannot be read as csv"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, content, says):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"--pairs FILE: .*{says}"):
        read_cells(tmp_path / "a.csv", "--pairs FILE")


def test_cells_of_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufeffname, of\r\n\r\n a ,"x\ny"\r\nb\u2028c\r\n'.encode())
    assert read_cells(tmp_path / "a.csv") == [(1, ["name", "of"]), (4, ["a", "x\ny"]), (5, ["b\u2028c"])]
    header, rows = read_dicts(tmp_path / "a.csv")
    assert header == ["name", "of"] and rows[1] == (5, {"name": "b\u2028c", "of": ""})


def test_the_second_line_of_torch_errors_is_reported():
    says = "a: no weights .Error.* for Linear: Missing key.s. in state_dict: .weight"
    with pytest.raises(UserError, match=says), reading("a", "no weights"):
        torch.nn.Linear(2, 1).load_state_dict({})


def test_names_too_long_for_the_system_do_not_exist(tmp_path):
    assert not path_exists(tmp_path / ("x" * 5000)) and path_exists(tmp_path)
    with pytest.raises(UserError, match="no such picture"):
        read_image(tmp_path / f"{'x' * 300}.png")
    with pytest.raises(UserError, match="no such video"):
        open_video(tmp_path / f"{'x' * 300}.mp4")
    (tmp_path / "a.csv").write_text(f"generated,real\n{'x' * 300},b.mp4\n")
    with pytest.raises(UserError, match="a.csv: missing: "):
        listed_pairs(tmp_path / "a.csv", {"result": tmp_path, "truth": tmp_path})


@pytest.mark.parametrize(
    ("step_of", "line"),
    [
        (models.face.log.reported_step, "(epoch: 1, iters: {}, time: 0.1) "),
        (models.ganimation.log.reported_step, "[a] (T, epoch: {0}, it: {0}/{0}, t/smpl: 0.1s) "),
    ],
)
def test_overlong_numbers_in_logs_are_not_steps(step_of, line):
    assert step_of(line.format(7)) is not None and step_of(line.format("9" * 5000)) is None
