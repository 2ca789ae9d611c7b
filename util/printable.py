"""Printable text from file names that may not be UTF-8."""

import re

UNDECODABLE = re.compile("[\ud800-\udfff]")
"""Python's representation of a byte that is not UTF-8 (PEP 383), or of half a UTF-16 character."""


def printable(text: object) -> str:
    """The text with bytes that are not UTF-8 escaped as \\xff, so that it can be written and printed."""
    return UNDECODABLE.sub(_escape, str(text))


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


STEERING = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|\n(?!  )")
"""Characters that move or clear a terminal, or change the direction of text; line breaks only before indented lines."""


def sanitized(text: str) -> str:
    """Clean a message that may quote a damaged file: it keeps its lines and cannot control a terminal."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), printable(text))
