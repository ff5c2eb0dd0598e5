"""One life of one process of a cluster: its role, its number and its row of the scoreboard."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from django_cluster.cluster.ipc.runtime_dir import RuntimeDir


class ProcessRole(StrEnum):
    """What a process of a cluster does, in the order in which they are started."""

    MONITOR = "monitor"
    PUSHER = "pusher"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Started later, when there is something to call."""


ROLES = tuple(ProcessRole)
ROLE_BITS = 4


def process_name(role: ProcessRole, index: int) -> str:
    """The name that people see: ``monitor``, ``worker 3``. Workers are counted from 1, ``index`` from 0."""
    return f"{role} {index + 1}" if role is ProcessRole.WORKER else str(role)


def process_signature(role: ProcessRole, index: int, pid: int) -> str:
    """The name of a process in rows and reports, with host and pid: ``worker 3 (host:812)``."""
    return f"{process_name(role, index)} ({os.uname().nodename}:{pid})"


def decode_role(role_code: int) -> tuple[ProcessRole, int]:
    """Role and index from ``Incarnation.role_code``."""
    return ROLES[role_code & (1 << ROLE_BITS) - 1], role_code >> ROLE_BITS


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one process. Its replacement is a new incarnation, with a new number and another row."""

    role: ProcessRole
    index: int
    """Which process of its role, from 0."""
    number: int
    """Unique in the life of the cluster, and growing."""
    row: int
    """Its row of the scoreboard."""
    runtime_dir: RuntimeDir
    cpus: tuple[int, ...] = ()
    """The processors to which it is bound; none = all."""
    own_group: bool = False
    """Whether it leads a process group, so that what its tasks start can be ended with it."""

    @property
    def name(self) -> str:
        return process_name(self.role, self.index)

    @property
    def role_code(self) -> int:
        """Role and index as one word of the scoreboard."""
        return self.index << ROLE_BITS | ROLES.index(self.role)
