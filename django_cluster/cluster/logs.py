"""Where the lines go when the project has said nothing about it."""

from __future__ import annotations

import logging
from typing import IO, Any

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(message)s"


def show_logs(level: str, stream: IO[str] | Any = None) -> None:
    """Give the logger a handler (default: standard error) if none is there that would show its lines."""
    logger = logging.getLogger("django_cluster")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT, "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(level)
