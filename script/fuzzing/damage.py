"""Ways to damage a file: blindly, byte by byte, or with corrected checksums, to reach the readers behind these."""

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np

Damage = Callable[[bytes], bytes]
"""Damages a part of a file."""
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
"""Values at which readers often miscount."""
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
DAMAGES = (1, 1, 1, 2, 3, 5)
"""Number of damages per file: mostly few, so that readers get far."""
LONGEST_RUN = 64
DECIMAL = re.compile(rb"-?\d+(?:\.\d+)?")
BINARY_TOKENS = (b"\0", b"\xff" * 8, b"\0" * 64, b"\x80", b"\n")
TEXT_TOKENS = (
    b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"0x10", b"", b",", b";", b'"', b"'", b"\n", b"\r", b"\t", b"\0",
    b"\xff\xfe", b"\xed\xa0\x80", "\u2028".encode(), "\u0663".encode(), b"[" * 3000, b"{" * 3000, b"x" * 200_000,
    b"../../x", b"/", b"null", b"true", b"{}", b"[]", b": ", b"- ", b"#", b"&a ", b"*a", b"!!int ", b"2021-99-99",
)  # fmt: skip
PICKLE_TOKENS = (
    *BINARY_TOKENS, b".", b"}", b"]", b")", b"(", b"N", b"\x85", b"\x86", b"\x87", b"R", b"b", b"s", b"u", b"e", b"a",
    b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f", b"j\x00\x00\x00\x00", b"cos\nsystem\n", b"cnumpy\ndtype\n",
    b"X\x01\0\0\0O", b"cnumpy\nndarray\n", b"\x96" + b"\xff" * 8, b"\x8e" + b"\xff" * 8, b"p" + b"9" * 300 + b"\n",
    b"I1\n", b"Q", b"2",
)  # fmt: skip


def damaged(rng: np.random.Generator, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """The content with damages at random offsets; `others` are whole files of the kind to take parts from."""
    for _ in range(rng.choice(DAMAGES)):
        way = WAYS[rng.integers(len(WAYS))]
        content = way(rng, content, others[rng.integers(len(others))], tokens)
    return content


def _offset(rng: np.random.Generator, content: bytes) -> int:
    # A quarter of the damages hits the start, where headers are.
    end = min(len(content), LONGEST_RUN) if rng.random() < 0.25 else len(content)
    return int(rng.integers(end + 1))


def _run(rng: np.random.Generator, content: bytes) -> tuple[int, int]:
    start = _offset(rng, content)
    return start, min(len(content), start + int(rng.integers(1, LONGEST_RUN)))


def _flip(rng, content, other, tokens) -> bytes:
    offset = _offset(rng, content)
    return (
        content[:offset]
        + bytes(byte ^ 1 << rng.integers(8) for byte in content[offset : offset + 1])
        + content[offset + 1 :]
    )


def _noise(rng, content, other, tokens) -> bytes:
    start, end = _run(rng, content)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _number(rng, content, other, tokens) -> bytes:
    width, value = int(rng.choice(list(WIDTHS))), NUMBERS[rng.integers(len(NUMBERS))]
    offset = _offset(rng, content)
    number = struct.pack("<>"[rng.integers(2)] + WIDTHS[width], value % 256**width)
    return content[:offset] + number + content[offset + width :]


def _decimal(rng, content, other, tokens) -> bytes:
    found = list(DECIMAL.finditer(content))
    if not found:
        return _number(rng, content, other, tokens)
    match = found[rng.integers(len(found))]
    texts = (b"-1", b"0", b"nan", b"inf", b"1e999", b"-1e-999", b"99999999999999999999", b"9" * 5000, b"1_0", b"x")
    return content[: match.start()] + texts[rng.integers(len(texts))] + content[match.end() :]


def _cut_off(rng, content, other, tokens) -> bytes:
    return content[: _offset(rng, content)]


def _cut_out(rng, content, other, tokens) -> bytes:
    start, end = _run(rng, content)
    return content[:start] + content[end:]


def _repeat(rng, content, other, tokens) -> bytes:
    start, end = _run(rng, content)
    return content[:end] + content[start:end] * int(rng.choice([1, 2, 500])) + content[end:]


def _insert(rng, content, other, tokens) -> bytes:
    offset = _offset(rng, content)
    return content[:offset] + tokens[rng.integers(len(tokens))] + content[offset:]


def _splice(rng, content, other, tokens) -> bytes:
    start, end = _run(rng, other)
    offset = _offset(rng, content)
    return content[:offset] + (other[start:] if rng.random() < 0.5 else other[start:end] + content[offset:])


def _swap(rng, content, other, tokens) -> bytes:
    (start, end), (later, last) = sorted([_run(rng, content), _run(rng, content)])
    end = min(end, later)
    return content[:start] + content[later:last] + content[end:later] + content[start:end] + content[last:]


WAYS = (_flip, _noise, _number, _decimal, _cut_off, _cut_out, _repeat, _insert, _splice, _swap)


def in_png(rng: np.random.Generator, content: bytes, damage: Damage) -> bytes:
    """Damage, drop or repeat a chunk of a PNG, with a correct checksum."""
    chunks, offset = [], 8
    while offset + 12 <= len(content):
        length = int.from_bytes(content[offset : offset + 4], "big")
        chunks.append(content[offset + 4 : offset + 8 + length])
        offset += length + 12
    chosen = int(rng.integers(len(chunks)))
    kind, data = chunks[chosen][:4], chunks[chosen][4:]
    if kind == b"IDAT" and rng.random() < 0.5:  # the pixels inside their compression
        chunks[chosen] = kind + zlib.compress(damage(zlib.decompress(data)))
    else:
        new = ([kind + damage(data)], [], [kind + data] * 2)[rng.choice(3, p=[0.8, 0.1, 0.1])]
        chunks[chosen : chosen + 1] = new
    written = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return content[:8] + b"".join(written)


def in_zip(rng: np.random.Generator, content: bytes, damage: Damage) -> bytes:
    """Damage or drop an entry of a zip archive, keeping the archive valid."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    chosen = int(rng.integers(len(entries)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (entry, data) in enumerate(entries):
            if number != chosen:
                archive.writestr(entry, data)
            elif rng.random() < 0.9:
                archive.writestr(entry, damage(data))
    return out.getvalue()


PACKED_HEADER = struct.Struct("<8sIIQQQQQI")


def in_packed(rng: np.random.Generator, content: bytes, damage: Damage) -> bytes:
    """Damage the description, a record or an array of a packed file, with correct checksums (docs/data_video.md)."""
    magic, version, flags, count, table, table_length, _, _, _ = PACKED_HEADER.unpack_from(content)
    offsets = list(struct.unpack_from(f"<{count + 1}Q", content, table))
    body, text = bytearray(content[:table]), content[table + table_length :]
    described = json.loads(text)
    spans = [*zip(offsets, offsets[1:], strict=False)]
    spans += [(one["place"], one["place"] + _size(one)) for one in described["arrays"].values()]
    if rng.random() < 0.3:
        text = damage(text)
    else:
        start, end = spans[rng.integers(len(spans))]
        body[start:end] = damage(bytes(body[start:end])).ljust(end - start, b"\0")[: end - start]
        for one in described["arrays"].values():
            one["crc"] = zlib.crc32(body[one["place"] : one["place"] + _size(one)])
        text = json.dumps(described).encode()
    sums = [zlib.crc32(body[start:end]) for start, end in zip(offsets, offsets[1:], strict=False)]
    tail = struct.pack(f"<{count + 1}Q{count}I", *offsets, *sums) + text
    fields = [magic, version, flags, count, table, table_length, len(text), table + len(tail), zlib.crc32(tail)]
    if rng.random() < 0.1:
        fields[rng.integers(3, 8)] = int(rng.choice(np.array(NUMBERS, np.uint64)))
    header = PACKED_HEADER.pack(*fields)
    return (header + struct.pack("<I", zlib.crc32(header))).ljust(64, b"\0") + bytes(body[64:]) + tail


def _size(array: dict) -> int:
    return int(np.prod(array["shape"])) * np.dtype(array["dtype"]).itemsize
