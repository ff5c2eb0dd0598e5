"""The report of an import, and the table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


class NotImportable(Exception):
    """What waits in the source cannot be imported; the message is the end of a sentence that begins with "it"."""


@dataclass(slots=True)
class ImportReport:
    """The report of one part, such as the schedules."""

    title: str
    imported: int = 0
    already_present: int = 0
    """Rows that were imported before."""
    left: int = 0
    """What stays in its source."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reasons for what was left or is incomplete → number."""
    missing: str = ""
    """Why the source could not be read; empty if it could."""
    notes: list[str] = field(default_factory=list)
    """Further sentences for the user."""

    def leave(self, reason: str, count: int = 1) -> None:
        """Count what stays in its source. ``reason``: the end of a sentence that begins with "it"."""
        self.left += count
        self.reasons[f"stays where it is: it {reason}"] += count

    def reasons_and_notes(self) -> Iterator[str]:
        """What is said below the numbers."""
        if self.missing:
            yield self.missing
        for reason, count in self.reasons.most_common():
            yield f"{count} × {reason}"
        yield from self.notes


def table(reports: Sequence[ImportReport], *, dry_run: bool) -> Iterator[str]:
    """The lines of one table: for each part what moved, what was here already, what stays, and below it why."""
    heads = ("", "would move" if dry_run else "moved", "here already", "not moved")
    rows = [(each.title, *(("-",) * 3 if each.missing and not each.imported else _numbers(each))) for each in reports]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(row: tuple[str, ...]) -> str:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return "  ".join((row[0].ljust(widths[0]), *cells))

    yield line(heads)
    for report, row in zip(reports, rows, strict=True):
        yield line(row)
        yield from (f"  {text}" for text in report.reasons_and_notes())


def _numbers(report: ImportReport) -> tuple[str, str, str]:
    return str(report.imported), str(report.already_present), str(report.left)
