"""Download files with a direct link: only on request, resumable, compared with the known hash."""

import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from script.zoo.table import File, sha256_of
from util.errors import UserError

TIMEOUT = 60
"""Timeout in seconds without a byte."""
BLOCK = 1 << 20


def fetch(file: File, target: Path) -> str:
    """Download a missing file; returns its SHA-256. An interrupted download resumes."""
    if not target.is_file():
        part = target.with_name(f"{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(str(file.direct), part)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise UserError(f"{file.direct}: download failed ({error}); run the same command to resume") from error
        _check(file, part, target.name)
        part.rename(target)
    return _check(file, target, target.name)


def _download(address: str, part: Path) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # nothing is left to download
            return
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        expected = answer.headers.get("Content-Length")
        written = 0
        while block := answer.read(BLOCK):
            file.write(block)
            written += len(block)
    if expected is not None and written != int(expected):
        raise ConnectionError(f"{written} of {expected} bytes arrived")


def _check(file: File, path: Path, name: str) -> str:
    """The SHA-256 of the download; a file with another hash is removed and refused."""
    digest = sha256_of(path)
    known = file.sha256 or next(iter(re.findall(r"-([0-9a-f]{8,64})\.\w+$", name)), "")
    if not digest.startswith(known):
        path.unlink()
        raise UserError(f"{file.direct}: removed, as it is not the released file: its SHA-256 is {digest}, not {known}")
    return digest
