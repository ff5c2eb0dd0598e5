"""What an import has done, or would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class ImportReport:
    """One table."""

    title: str
    imported: int = 0
    already_present: int = 0
    """Are here already."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why others were left out, or taken with a loss: a sentence, and how often."""
    missing: str = ""
    """Why there was nothing to read."""
    notes: list[str] = field(default_factory=list)
    """What the reader has to know, in sentences."""

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
