"""A post-mortem as lines of text, for the admin and for ``qmonitor``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django_cluster.core.post_mortem import PostMortem

MAX_SAME_KIND = 1000
"""Failures of one kind that are counted."""
NO_POST_MORTEM = PostMortem()
FACTS: Mapping[str, str] = {
    "exit code": "{0.exit_code}",
    "queries": "{0.queries} in {0.query_seconds:.3f} s",
    "run time": "{0.wall_seconds:.3f} s",
    "processor time": "{0.cpu_seconds:.3f} s",
    "peak memory": "{0.peak_memory_kb} kB",
    "host": "{0.host}",
    "revision": "{0.revision}",
}
"""What is measured, and how it is written. The first field of each text decides whether it is known."""


def facts_of(found: PostMortem) -> Iterator[tuple[str, str]]:
    """Name and text of everything that is known about the run and its process."""
    for name, text in FACTS.items():
        field = text[text.index(".") + 1 :].partition("}")[0].partition(":")[0]
        if getattr(found, field) not in (None, ""):
            yield name, text.format(found)
    if found.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())


def variable_lines(found: PostMortem) -> Iterator[str]:
    """The frames of the project's code, the innermost last, each with its variables."""
    for frame in found.frames:
        yield f"{frame.path}:{frame.line} in {frame.function}"
        for name, text in frame.variables:
            yield f"    {name} = {text}"
