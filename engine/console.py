"""Console messages that do not break the progress bar."""

import logging
import sys
import warnings

from tqdm import tqdm


class _AboveProgressBar(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class _MessageFormatter(logging.Formatter):
    """Plain messages; warnings and errors start with their level."""

    def __init__(self, prefix: str):
        super().__init__()
        self.prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.prefix}{level}{record.getMessage()}"


def configure_logging(rank: int | None = None) -> None:
    """Show the project's messages on the console; with several processes, only warnings and errors of other ranks."""
    handler = _AboveProgressBar()
    handler.setFormatter(_MessageFormatter("" if rank is None else f"rank {rank}: "))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("__main__", "building", "engine", "data", "models", "metrics", "test", "train"):
        logging.getLogger(name).setLevel(logging.INFO if not rank else logging.WARNING)
    warnings.formatwarning = lambda message, *_, **__: str(message)
    logging.captureWarnings(True)
