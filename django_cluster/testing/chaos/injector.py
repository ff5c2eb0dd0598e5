"""Inject the faults of a plan into a running cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from django_cluster.testing.chaos.clock import SteppedClock
from django_cluster.testing.chaos.network import Network
from django_cluster.testing.chaos.observations import InjectedFault
from django_cluster.testing.chaos.pausing import Pausing
from django_cluster.testing.chaos.plan import Fault, FaultKind, Target
from django_cluster.testing.chaos.target_cluster import TargetCluster


class FaultInjector:
    """Injects faults, and waits for the end of the last one."""

    def __init__(
        self,
        target_cluster: TargetCluster,
        pausing: Pausing,
        network: Network,
        clock: SteppedClock,
        cancel: Callable[[float], object] = lambda pick: None,
    ) -> None:
        """``cancel``: cancels one of the newest tasks, which its number from 0 to 1 selects."""
        self._cancel = cancel
        self._target_cluster, self._pausing, self._network, self._clock = target_cluster, pausing, network, clock
        self._pause: subprocess.Popen[bytes] | None = None
        self._network_fault_until = 0.0

    def inject(self, fault: Fault) -> InjectedFault | None:
        """Inject a fault; None if its target did not exist."""
        if fault.kind is FaultKind.KILL:
            return self._target_cluster.kill(fault.target, fault.pick)
        if fault.kind is FaultKind.FREEZE and fault.target is not Target.SERVER:
            return self._target_cluster.freeze(fault.target, fault.pick, fault.seconds)
        if fault.target is Target.SERVER and self._pause is not None:
            self._pause.wait()
        now = time.monotonic()
        if fault.kind is FaultKind.CANCEL:
            self._cancel(fault.pick)
        elif fault.kind is FaultKind.CLOCK:
            self._clock.step(fault.seconds)
        elif fault.target is Target.SERVER:
            self._pause = self._pausing.pause_for(fault.seconds)
        else:
            self._network.disturb(fault.kind, fault.seconds)
            self._network_fault_until = max(self._network_fault_until, now + fault.seconds)
        return InjectedFault(now, fault.target, seconds=fault.seconds, kind=fault.kind)

    def wait_until_over(self) -> None:
        """Wait until every pause, freeze and network fault has ended."""
        if self._pause is not None:
            self._pause.wait()
        self._target_cluster.wait_until_resumed()
        time.sleep(max(0.0, self._network_fault_until - time.monotonic()))
