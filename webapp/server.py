"""The server: addresses, security headers, and temporary files."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCAL = ("127.0.0.1", "localhost", "::1")
FOREIGN = re.compile(rb'<(?:script|link)\b[^>]*(?:src|href)="https?://[^>]*>(?:\s*</script>)?')
"""Parts of a page that would load files from other servers."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:"
)
"""Content security policy: browsers contact no other server."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the server listens."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the first free port from 7860 on."""
    share: bool = False

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOCAL and not self.share


@contextmanager
def quiet_folder() -> Iterator[Path]:
    """A folder for all that is removed when the app ends; gradio keeps there what browsers give, and asks nobody
    elsewhere. Before gradio is imported."""
    with tempfile.TemporaryDirectory(prefix="grimace_app_", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "given")
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        # gradio checks that its own server is up; a network proxy cannot reach it.
        os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), *LOCAL)))
        yield Path(folder)


class KeepsToItself:
    """ASGI middleware that removes references to other servers from pages and forbids browsers to follow them."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward a request, and change responses that are pages."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def changed(message: Any) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                start.update(message)
            elif start and message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _send_page(start, b"".join(parts), send)
            else:
                await send(message)

        await self.app(scope, receive, changed)


def _is_page(start: Any) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"])


async def _send_page(start: dict[str, Any], body: bytes, send: Any) -> None:
    body = FOREIGN.sub(b"", body)
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    added = [(b"content-length", str(len(body)).encode()), (b"content-security-policy", POLICY.encode())]
    await send({**start, "headers": [*headers, *added]})
    await send({"type": "http.response.body", "body": body})


def serve(page: Any, address: Address, *, results: Path, megabytes: int, theme: Any, css: str, block: bool) -> Any:
    """Start the server, with results below /results. Returns the local address unless it blocks."""
    from starlette.middleware import Middleware
    from starlette.staticfiles import StaticFiles

    results.mkdir(parents=True, exist_ok=True)
    page.queue(default_concurrency_limit=1, max_size=20, api_open=False)
    server, here, shared = page.launch(
        server_name=address.host, server_port=address.port, share=address.share, quiet=True, prevent_thread_lock=True,
        max_file_size=megabytes * 2**20, allowed_paths=[], ssr_mode=False, footer_links=[], theme=theme, css=css,
        app_kwargs={"middleware": [Middleware(KeepsToItself)]}, enable_monitoring=False,
    )  # fmt: skip
    server.mount("/results", StaticFiles(directory=results, html=True), name="results")
    if not address.local:
        log.warning("others can reach this app over the network and see its results: %s", shared or address.host)
    print(f"Grimace runs at {shared or here}  (stop it with Ctrl-C)", flush=True)
    if block:
        page.block_thread()
    return here
