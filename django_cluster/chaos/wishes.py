"""What the user asks of a run, and what may therefore be done to whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_cluster.chaos.pausing import Pausing
from django_cluster.chaos.plan import CREW, NETWORK, Deed, Kind, Span, Target

LONGER = Span(1.2, 2.0)
"""Leases for which something is frozen or held: longer than one, so that every lease lapses meanwhile."""
STEP = 20.0
"""Leases by which a clock is wrong at most, in either direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asks of a run."""

    seconds: float = 60.0
    rate: float = 50.0
    """Tasks a second."""
    every: float = 1.0
    """Seconds from one fault to the next, on average."""
    lease: float = 6.0
    seed: int = 0
    events: frozenset[Kind] = frozenset({Kind.KILL})
    only: tuple[str, ...] = ()
    """Targets to which the faults are confined; none: all that may be hit."""
    sentinel: bool = False
    """Whether the sentinel may be killed too."""
    pausing: Pausing = field(default_factory=Pausing)
    keep: bool = False
    """Leave the rows and the folder for a look."""

    @property
    def longest_pause(self) -> float:
        """Seconds that a lease survives with certainty: how long the server is paused where nobody asked for more."""
        return self.lease / 3

    def deeds(self, *, scheduler: bool, network: bool) -> set[Deed]:
        """``scheduler``: whether the cluster has one; ``network``: whether there is one that can be disturbed."""
        targets = set(CREW) if scheduler else set(CREW) - {Target.SCHEDULER}
        deeds = {Deed(kind, target) for kind in (Kind.KILL, Kind.FREEZE) for target in targets}
        deeds |= {
            Deed(Kind.FREEZE, Target.SENTINEL),
            Deed(Kind.FREEZE, Target.CLUSTER),
            Deed(Kind.CLOCK, Target.CLUSTER),
        }
        if self.sentinel:
            deeds.add(Deed(Kind.KILL, Target.SENTINEL))
        if network:
            deeds |= {Deed(kind, Target.NETWORK) for kind in NETWORK}
        deeds = {deed for deed in deeds if deed.kind in self.events}
        if self.pausing.possible:
            deeds.add(Deed(Kind.FREEZE, Target.SERVER))
        return {deed for deed in deeds if deed.target in self.only} if self.only else deeds

    def spans(self) -> dict[Deed, Span]:
        """How many seconds each lasts."""
        long = Span(LONGER.least * self.lease, LONGER.most * self.lease)
        spans = {Deed(Kind.FREEZE, target): long for target in Target}
        spans |= {Deed(kind, Target.NETWORK): long for kind in NETWORK if kind is not Kind.RESET}
        spans[Deed(Kind.CLOCK, Target.CLUSTER)] = Span(-STEP * self.lease, STEP * self.lease)
        if Kind.FREEZE not in self.events:
            spans[Deed(Kind.FREEZE, Target.SERVER)] = Span(self.longest_pause / 10, self.longest_pause)
        return spans
