"""Coding tables of micro-expressions."""

import pytest

from data.micro.coding_table import read_table
from util.errors import UserError


@pytest.mark.parametrize("row", ["1,a,{}", "{},a,3"])
def test_overlong_numbers_are_reported(tmp_path, row):
    path = tmp_path / "a.csv"
    path.write_text(f"Subject,Filename,OnsetFrame\n{row.format('9' * 5000)}\n")
    with pytest.raises(UserError, match="--table .*a.csv: a line cannot be read .*; correct it"):
        read_table(path)
