"""Text that any program can read, made of file names that need not be UTF-8."""

import re

UNDECODABLE = re.compile("[\ud800-\udfff]")
"""What stands in a Python string for a byte that is no UTF-8 (PEP 383), or for half a character of UTF-16."""


def printable(text: object) -> str:
    """The text with bytes that are no UTF-8 written as \\xff, so that it can be written to a file and shown."""
    return UNDECODABLE.sub(_escape, str(text))


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
