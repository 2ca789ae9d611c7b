"""What the server sends along, and what it leaves behind."""

import asyncio
import os

from webapp.server import POLICY, Address, KeepsToItself, quiet_folder

PAGE = b"""<html><link rel="preconnect" href="https://fonts.example/" />
<script src="https://cdn.example/a.js" async></script>
<script src="/own.js"></script><a href="https://paper.example">read</a></html>"""


def answer(kind, body, parts=2):
    """What a browser gets of an answer that comes in parts."""

    async def app(scope, receive, send):
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in range(parts):
            last = part == parts - 1
            piece = body[part * len(body) // parts : (part + 1) * len(body) // parts]
            await send({"type": "http.response.body", "body": piece, "more_body": not last})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(KeepsToItself(app)({"type": "http"}, None, send))
    return dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


def test_pages_fetch_nothing_from_elsewhere():
    headers, body = answer(b"text/html; charset=utf-8", PAGE)
    assert b"fonts.example" not in body and b"cdn.example" not in body
    assert b'<script src="/own.js"></script>' in body and b"paper.example" in body, "links may lead away"
    assert headers[b"content-length"] == str(len(body)).encode()
    assert headers[b"content-security-policy"] == POLICY.encode()


def test_other_responses_are_forwarded_unchanged():
    headers, body = answer(b"video/mp4", PAGE)
    assert body == PAGE and b"content-security-policy" not in headers


def test_only_this_machine_is_local():
    assert Address().local and Address("localhost").local
    assert not Address("0.0.0.0").local and not Address(share=True).local


def test_uploads_are_removed_and_nothing_is_sent_elsewhere(monkeypatch):
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "NO_PROXY"):
        monkeypatch.setenv(name, "before")
    with quiet_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"].startswith(str(folder)) and folder.is_dir()
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert os.environ["NO_PROXY"].split(",")[:2] == ["before", "127.0.0.1"]
        (folder / "given.mp4").touch()
    assert not folder.exists()
