"""A fault of the plan → what is really done, and to whom."""

from __future__ import annotations

import subprocess
import time

from django_cluster.chaos.clock import SteppedClock
from django_cluster.chaos.evidence import Hit
from django_cluster.chaos.network import Network
from django_cluster.chaos.pausing import Pausing
from django_cluster.chaos.plan import Fault, Kind, Target
from django_cluster.chaos.victims import Victims


class Blows:
    """Deals them out, and knows when the last has passed."""

    def __init__(self, victims: Victims, pausing: Pausing, network: Network, clock: SteppedClock) -> None:
        self._victims, self._pausing, self._network, self._clock = victims, pausing, network, clock
        self._pause: subprocess.Popen[bytes] | None = None
        self._over = 0.0

    def deal(self, fault: Fault) -> Hit | None:
        """None when there was nobody to be hit."""
        if fault.kind is Kind.KILL:
            return self._victims.kill(fault.target, fault.pick)
        if fault.kind is Kind.FREEZE and fault.target is not Target.SERVER:
            return self._victims.freeze(fault.target, fault.pick, fault.seconds)
        if fault.target is Target.SERVER and self._pause is not None:
            self._pause.wait()
        now = time.monotonic()
        if fault.kind is Kind.CLOCK:
            self._clock.step(fault.seconds)
        elif fault.target is Target.SERVER:
            self._pause = self._pausing.hold(fault.seconds)
        else:
            self._network.do(fault.kind, fault.seconds)
            self._over = max(self._over, now + fault.seconds)
        return Hit(now, fault.target, seconds=fault.seconds, kind=fault.kind)

    def wait_until_over(self) -> None:
        """Everybody goes on, and the network is as good as any."""
        if self._pause is not None:
            self._pause.wait()
        self._victims.thaw()
        time.sleep(max(0.0, self._over - time.monotonic()))
