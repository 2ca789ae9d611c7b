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


STEERING = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|\n(?!  )")
"""What moves a terminal's cursor, clears it, or turns the direction of text; a list goes on with a line set in."""


def harmless(text: str) -> str:
    """A message that may quote a damaged file, so that it stays in its lines and steers no terminal."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), printable(text))
