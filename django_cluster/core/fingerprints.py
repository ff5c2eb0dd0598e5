"""Which failures are of the same kind: class of the error, function of the task, and innermost frame of the project."""

from __future__ import annotations

import os
import re
from hashlib import sha256

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
LIBRARY = re.compile(r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib[\\/]python3|^<frozen ")
"""Found in the path of a file that is no code of the project."""
FRAME = re.compile(
    r'^[ |+-]*File "(?P<path>[^"]*)", line \d+(?:, in (?P<name>.*?)| in (?P<dumped>.*?))?$', re.MULTILINE
)
"""A frame of a traceback, or of what ``faulthandler`` writes."""
BEGINNING = re.compile(r"^[ |+-]*(?:Traceback|Current thread|Thread|Fatal Python error)\b.*$", re.MULTILINE)
NAMED_PARTS = 3
"""Parts of a path that count, from its end: the same code may lie elsewhere on another host."""
LENGTH = 16


def is_library(path: str) -> bool:
    """Whether a file belongs to Python, to an installed package, or to this one."""
    return path.startswith(PACKAGE) or LIBRARY.search(path) is not None


def fingerprint_of(kind: str, func: str, traceback: str) -> str:
    """Sixteen hexadecimal digits, the same for failures of the same kind.

    ``kind``: dotted path of the exception. ``func``: dotted path of the task. ``traceback``: its text, or the stack of
    a killed process. Line numbers and messages do not count: they change while the fault stays.
    """
    parts = (kind, func, innermost_frame(traceback))
    return sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:LENGTH]


def innermost_frame(traceback: str) -> str:
    """``orders/models.py in total``: the innermost frame of the project; empty if there is none."""
    last = BEGINNING.split(traceback)[-1]
    frames = [each for each in FRAME.finditer(last) if not is_library(each["path"])]
    if not frames:
        return ""
    innermost = frames[0] if frames[0]["dumped"] is not None else frames[-1]  # faulthandler begins with the innermost
    path = "/".join(re.split(r"[\\/]", innermost["path"])[-NAMED_PARTS:])
    return f"{path} in {innermost['name'] or innermost['dumped'] or ''}"
