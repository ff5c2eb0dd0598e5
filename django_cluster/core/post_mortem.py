"""What is known of a failed run: the variables of its frames, its log lines, its resources, and how its process died.

It is collected only after a failure, masked where it is collected, and kept as compressed JSON beside the row.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

MAX_BYTES = 1 << 20
"""Bytes of JSON that are read back at most."""


NOTHING_KNOWN: tuple[object, ...] = (None, "", ())
FRAME_FIELDS = ("path", "line", "function", "variables")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameVariables:
    """One frame of the project's own code, and its local variables."""

    path: str
    line: int
    function: str
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Name and text of each; credentials, and what ``@sensitive_variables`` names, are masked."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """A frame from what ``PostMortem.packed`` writes."""
        pairs = tuple((str(name), str(text)) for name, text in plain.get("variables", ()))
        return cls(path=str(plain["path"]), line=int(plain["line"]), function=str(plain["function"]), variables=pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMortem:
    """What is known of a run that failed. None: not known, such as the queries of a process that was killed."""

    verdict: str = ""
    """For a process that died: why, in words. Empty where the task raised an exception."""
    exit_code: int | None = None
    """The exit code of a process that died; -n: it was killed by signal n."""
    frames: tuple[FrameVariables, ...] = ()
    """The frames of the project's own code, the innermost last."""
    log_lines: tuple[str, ...] = field(default=(), repr=False)
    """The last lines that the run has logged, the newest last."""
    queries: int | None = None
    """Database queries of the run, all connections together."""
    query_seconds: float | None = None
    cpu_seconds: float | None = None
    """Processor time of the worker during the run, to within ten milliseconds; what ran beside it is included."""
    wall_seconds: float | None = None
    peak_memory_kb: int | None = None
    """The most memory that the worker has held, in kilobytes."""
    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of Python, Django and django_cluster."""
    revision: str = ""
    """The revision of the project: the setting ``revision``, or that of its git repository."""

    def packed(self) -> bytes:
        """Compressed JSON."""
        plain = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) not in NOTHING_KNOWN}
        if self.frames:
            plain["frames"] = [{name: getattr(frame, name) for name in FRAME_FIELDS} for frame in self.frames]
        plain["versions"] = dict(self.versions)
        return zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpacked(cls, packed: bytes | memoryview) -> Self:
        """The inverse of ``packed``. Raises ``ValueError`` for what is none."""
        try:
            decoder = zlib.decompressobj()
            plain = json.loads(decoder.decompress(packed, MAX_BYTES))
            if not isinstance(plain, dict):
                raise TypeError("no mapping")
            known: dict[str, Any] = {each.name: plain[each.name] for each in fields(cls) if each.name in plain}
            known["frames"] = tuple(FrameVariables.from_plain(each) for each in known.get("frames", ()))
            known["log_lines"] = tuple(str(line) for line in known.get("log_lines", ()))
            return cls(**known)
        except (zlib.error, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"no post-mortem: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Where runs take place: the same for all runs of a process."""

    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
