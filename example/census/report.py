"""What the rows of a census say, as text. Pure: values in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from example.census.analysis import Findings

TOP = 8
"""How many modules and functions are shown."""
REASONS = 25
"""How many failures are shown with their reason; all of them are counted."""


class Counted(NamedTuple):
    """A file whose task succeeded."""

    path: str
    findings: Findings


class Failed(NamedTuple):
    """A file whose task failed, and why."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What must agree: the files, what was enqueued for them, and what came of it."""

    files: int
    enqueued: int
    succeeded: int
    failed: int
    unexpected: int
    """Tasks without a row, and rows without a file."""

    @property
    def balanced(self) -> bool:
        return self.files == self.enqueued == self.succeeded + self.failed and not self.unexpected

    def __str__(self) -> str:
        if self.balanced:
            return f"Reconciled: {self.enqueued:,} enqueued = {self.succeeded:,} succeeded + {self.failed:,} failed."
        return (
            f"Not reconciled: of {self.files:,} files {self.enqueued:,} were enqueued, "
            f"{self.succeeded:,} succeeded, {self.failed:,} failed, {self.unexpected:,} are missing or unexpected."
        )


def render(counted: Sequence[Counted], failed: Sequence[Failed]) -> str:
    """All findings, as one table below the other."""
    sections = [_totals(counted), _modules(counted), _functions(counted), _failures(failed)]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _totals(counted: Sequence[Counted]) -> list[str]:
    findings = [each.findings for each in counted]
    rows = [
        ("files", len(findings)),
        ("lines", sum(each.lines for each in findings)),
        ("functions", sum(each.functions for each in findings)),
        ("classes", sum(each.classes for each in findings)),
    ]
    return ["Counted", *_table(rows)]


def _modules(counted: Sequence[Counted]) -> list[str]:
    imports = Counter(module for each in counted for module in each.findings.imports)
    ranked = sorted(imports.items(), key=lambda pair: (-pair[1], pair[0]))
    return ["Most imported modules, and in how many files", *_table(ranked[:TOP])]


def _functions(counted: Sequence[Counted]) -> list[str]:
    longest = [(each.path, each.findings.longest) for each in counted if each.findings.longest]
    ranked = sorted(longest, key=lambda pair: (-pair[1].lines, pair[0]))
    rows = [(f"{function.name} in {path}", function.lines) for path, function in ranked[:TOP]]
    return ["Longest functions, and their lines", *_table(rows)]


def _failures(failed: Sequence[Failed]) -> list[str]:
    if not failed:
        return []
    kinds = Counter(each.kind for each in failed).most_common()
    reasons = [f"  {each.path}: {each.reason}" for each in failed[:REASONS]]
    more = [f"  … and {len(failed) - REASONS:,} more"] if len(failed) > REASONS else []
    return ["Failed, by kind of error", *_table(kinds), "", "Failed, and why", *reasons, *more]


def _table(rows: Sequence[tuple[str, int]]) -> list[str]:
    """Words on the left, numbers on the right."""
    words = max((len(name) for name, _ in rows), default=0)
    digits = max((len(f"{number:,}") for _, number in rows), default=0)
    return [f"  {name:<{words}}  {number:>{digits},}" for name, number in rows]
