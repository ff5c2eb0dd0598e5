"""The report of an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class ImportReport:
    """The report of one table."""

    title: str
    imported: int = 0
    already_present: int = 0
    """Rows that were imported before."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reasons for skipped or incomplete rows → number of rows."""
    missing: str = ""
    """Why the source could not be read; empty if it could."""
    notes: list[str] = field(default_factory=list)
    """Further sentences for the user."""

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        if self.missing:
            yield f"{self.title}: {self.missing}"
            yield from (f"  {note}" for note in self.notes)
            return
        verb = "would be taken over" if dry_run else "taken over"
        yield f"{self.title}: {self.imported} {verb}, {self.already_present} here already."
        for reason, count in self.reasons.most_common():
            yield f"  {count} × {reason}"
        yield from (f"  {note}" for note in self.notes)
