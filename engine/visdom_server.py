"""A visdom server on this machine only: `python -m engine.visdom_server --port 8096 --env_path result/NAME/visdom`.

visdom's own command first downloads its page's scripts and fails without a network. Here the server starts at once and
downloads the scripts in the background.
"""

import argparse
import importlib.util
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

log = logging.getLogger(__name__)


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def start_in_background(port: int, env_path: Path, patience: float = 30) -> subprocess.Popen | None:
    """Start a server that ends with this process; None if it does not listen within the timeout."""
    env_path.mkdir(parents=True, exist_ok=True)
    with (env_path / "server.log").open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "engine.visdom_server", "--port", str(port), "--env_path", str(env_path)]
            + ["--parent", str(os.getpid())],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and server.poll() is None:
        if is_listening(port):
            return server
        time.sleep(0.1)
    server.terminate()
    return None


def page_problem(port: int) -> str | None:
    """Why a browser cannot open the server's page, or None."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return None
    except HTTPError as error:
        from tornado import version

        return f'it answers {error.code}; visdom needs tornado<6.6, found {version}: pip install "tornado<6.6"'
    except (URLError, OSError) as error:
        return str(error)


def missing_files() -> list[str]:
    """Missing files of visdom's page; its server downloads them, which needs a network."""
    spec = importlib.util.find_spec("visdom")
    if spec is None or not spec.submodule_search_locations:
        return []
    static = Path(spec.submodule_search_locations[0]) / "static"
    try:
        page = (static / "index.html").read_text(encoding="utf-8")
    except OSError as error:
        return [str(error)]
    names = re.findall(r"""static_url\(["']([^"'?#]+)""", page)
    # Names that begin with .. are the user's own style, which is optional.
    return [name for name in dict.fromkeys(names) if not name.startswith("..") and not (static / name).is_file()]


def main() -> None:
    """Serve until ended, or until the parent process has exited."""
    parser = argparse.ArgumentParser(description="Run a visdom server on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8096, help="port to listen on [8096]")
    parser.add_argument("--env_path", type=Path, required=True, help="folder where environments are kept")
    parser.add_argument("--parent", type=int, help="end when this process does")
    arguments = parser.parse_args()
    from visdom.server.run_server import start_server

    threading.Thread(target=_fetch_scripts, daemon=True).start()
    if arguments.parent:
        threading.Thread(target=_end_with, args=(arguments.parent,), daemon=True).start()
    folder = str(arguments.env_path.resolve())
    start_server(port=arguments.port, hostname="127.0.0.1", base_url="", env_path=folder, bind_local=True)


def _fetch_scripts() -> None:
    from visdom.server.build import download_scripts

    try:
        download_scripts()
    except Exception as error:  # the page is optional; data are recorded without it
        log.warning("visdom's page may stay blank: cannot download its scripts (%s)", error)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    main()
