"""The options of a run, and the faults that they allow."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_cluster.testing.chaos.pausing import Pausing
from django_cluster.testing.chaos.plan import NETWORK, REPLACEABLE, DurationRange, FaultKind, FaultType, Target

OUTAGE_LEASES = DurationRange(1.2, 2.0)
"""Bounds of the duration of an outage, in leases: longer than one, so that every lease expires."""
CLOCK_STEP_LEASES = 20.0
"""Largest offset of the clock in either direction, in leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``qchaos``."""

    seconds: float = 60.0
    rate: float = 50.0
    """Tasks a second."""
    every: float = 1.0
    """Mean seconds between two faults."""
    lease: float = 6.0
    seed: int = 0
    events: frozenset[FaultKind] = frozenset({FaultKind.KILL})
    only: tuple[str, ...] = ()
    """Names of the only targets; empty: every target that the other options allow."""
    sentinel: bool = False
    """Whether the sentinel may be killed."""
    pausing: Pausing = field(default_factory=Pausing)
    keep: bool = False
    """Keep the result rows and the folder after the run."""

    @property
    def longest_pause(self) -> float:
        """Longest pause of the server in seconds without ``freeze``: a third of a lease, so that none expires."""
        return self.lease / 3

    def fault_types(self, *, scheduler: bool, network: bool) -> set[FaultType]:
        """The faults that may be drawn.

        ``scheduler``: whether the cluster has one. ``network``: whether the proxy can be used.
        """
        targets = set(REPLACEABLE) if scheduler else set(REPLACEABLE) - {Target.SCHEDULER}
        fault_types = {FaultType(kind, target) for kind in (FaultKind.KILL, FaultKind.FREEZE) for target in targets}
        fault_types |= {
            FaultType(FaultKind.FREEZE, Target.SENTINEL),
            FaultType(FaultKind.FREEZE, Target.CLUSTER),
            FaultType(FaultKind.CLOCK, Target.CLUSTER),
            FaultType(FaultKind.CANCEL, Target.TASK),
        }
        if self.sentinel:
            fault_types.add(FaultType(FaultKind.KILL, Target.SENTINEL))
        if network:
            fault_types |= {FaultType(kind, Target.NETWORK) for kind in NETWORK}
        fault_types = {fault_type for fault_type in fault_types if fault_type.kind in self.events}
        if self.pausing.possible:
            fault_types.add(FaultType(FaultKind.FREEZE, Target.SERVER))
        return (
            {fault_type for fault_type in fault_types if fault_type.target in self.only} if self.only else fault_types
        )

    def duration_ranges(self) -> dict[FaultType, DurationRange]:
        """Bounds of the duration of each fault, in seconds; for ``clock``, of the offset."""
        long = DurationRange(OUTAGE_LEASES.least * self.lease, OUTAGE_LEASES.most * self.lease)
        duration_ranges = {FaultType(FaultKind.FREEZE, target): long for target in Target}
        duration_ranges |= {FaultType(kind, Target.NETWORK): long for kind in NETWORK if kind is not FaultKind.RESET}
        duration_ranges[FaultType(FaultKind.CLOCK, Target.CLUSTER)] = DurationRange(
            -CLOCK_STEP_LEASES * self.lease, CLOCK_STEP_LEASES * self.lease
        )
        if FaultKind.FREEZE not in self.events:
            duration_ranges[FaultType(FaultKind.FREEZE, Target.SERVER)] = DurationRange(
                self.longest_pause / 10, self.longest_pause
            )
        return duration_ranges
