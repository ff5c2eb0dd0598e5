"""One system under test: what it needs, how it is started, and a few verbs that send tasks to it.

The class is known on both sides. The driver reads its facts and starts its commands; the verbs run in the
``agent``, in the system's own environment: whatever they import is imported inside of them.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Durability:
    """What a system promises, in the words of the table."""

    crash: str
    """What becomes of the running task when its worker is killed."""
    kept: str
    """What is kept of a finished task, and where."""

    @property
    def full(self) -> bool:
        """As ours: acknowledged after the run, and a row with the value."""
        return self.crash == RUN_AGAIN and self.kept == ROW


RUN_AGAIN = "run again"
LOST = "lost"
ROW = "row with the value"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of one harness are."""

    redis: str
    """The URL, without the number of a database."""
    database: Mapping[str, Any]
    """An entry for Django's ``DATABASES``."""


class System(ABC):
    """A system in one of its set-ups."""

    name: str
    """``system/set-up``, as the table shows it."""
    home: ClassVar[str]
    """The name of its environment."""
    requirements: ClassVar[Sequence[str]]
    distribution: ClassVar[str]
    """The one whose version is reported."""
    apps: ClassVar[Sequence[str]] = ()
    """Django apps that it brings."""
    database: str = "postgres"
    """Where the tables of its project are: ``postgres`` or ``sqlite``."""
    durability: Durability
    pace: int
    """Tasks a second, roughly: how many are sent, so that each run takes a few seconds."""
    has_bulk: ClassVar[bool] = False
    has_schedules: ClassVar[bool] = False
    has_async: ClassVar[bool] = False
    """Whether it runs ``async def`` tasks on an event loop."""

    # ── in the driver ────────────────────────────────────────────────────────────────────────────

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        """Django settings of its own."""
        return {}

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """The programs that make up its workers, as its makers would start them on two cores."""

    def environment(self, addresses: Addresses) -> dict[str, str]:
        project = {
            "database": dict(addresses.database),
            "apps": list(self.apps),
            "settings": self.settings(addresses),
        }
        return {
            "DJANGO_SETTINGS_MODULE": "benchmarks.django_settings",
            "BENCH_DJANGO": json.dumps(project),
            "BENCH_REDIS": addresses.redis,
            "BENCH_POSTGRES": dsn(addresses.database),
        }

    # ── in the agent ─────────────────────────────────────────────────────────────────────────────

    def install(self) -> None:
        """Make the tables, once; later stages are copies of that database."""
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)

    def prepare(self) -> None:
        """Open what sending needs; called once in each agent."""
        import django

        django.setup()

    @abstractmethod
    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        """Ask for the task ``count`` times, one by one."""

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        """The same by the bulk call of the system."""
        raise NotImplementedError

    def schedule(self, count: int) -> None:
        """Make so many schedules, due once and now, of the task that does nothing."""
        raise NotImplementedError

    @abstractmethod
    def settled(self, count: int) -> bool:
        """Whether ``count`` results are stored and every message is acknowledged."""


def dsn(database: Mapping[str, Any]) -> str:
    """A URL for clients that know no Django; empty for a database that is a file."""
    if not database["ENGINE"].endswith("postgresql"):
        return ""
    return f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}"


def redis_url(number: int = 0) -> str:
    """In the agent or a worker: one of the databases of the harness's Redis."""
    return f"{os.environ['BENCH_REDIS']}/{number}"


def count_in_redis(command: str, *keys: str, number: int = 0) -> int:
    """What Redis answers to a command that counts."""
    from redis import Redis

    client: Any = Redis.from_url(redis_url(number))
    return int(client.execute_command(command, *keys))
