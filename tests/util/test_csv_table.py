"""Tables that people write by hand, with spreadsheets, with pandas."""

import pytest

from util.csv_table import read_rows
from util.errors import UserError


def read(tmp_path, content, needed=("source", "driving")):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rows(path, "--pairs", needed)


def test_blanks_and_byte_order_marks_are_ignored(tmp_path):
    rows = read(tmp_path, '\ufeffsource , driving,note\r\n\r\n a.png , b.mp4\r\n,,\r\n"c,d.png",e.mp4,x\r\n')
    assert rows == [
        (3, {"source": "a.png", "driving": "b.mp4", "note": ""}),
        (5, {"source": "c,d.png", "driving": "e.mp4", "note": "x"}),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("source,output\na,b\n", "lacks driving, and has source, output"),
        ("", "pairs.csv: is empty"),
        ("source,driving\n\n", "no rows"),
        ("source,driving\na,b\n\nc,\n", "line 4: driving is empty"),
        ("source,driving\nm\xfcller.png,b\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_all_errors_of_a_table_are_reported(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, content)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match="--pairs .*absent.csv: no such file"):
        read_rows(tmp_path / "absent.csv", "--pairs", ("source",))
