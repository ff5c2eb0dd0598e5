"""Whether what the settings name is there: brokers that answer, tables that exist. Asks servers, in bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model

from django_cluster.brokers import LibraryNotInstalled, needs_delay_queue, open_broker, shipped_kind
from django_cluster.core.settings import BrokerSettings, Settings, problems
from django_cluster.database.connection import is_refused_entry
from django_cluster.database.dialect import is_sqlite
from django_cluster.errors import BrokerError, BrokerRefused, Problem
from django_cluster.models import QueuedTask, Task
from django_cluster.stores.tables import QUEUE_MODELS, RESULT_MODELS, missing_migrations, missing_tables

PROBE_SECONDS = 10.0
"""Seconds after which a server that has not answered counts as unavailable. All are asked in parallel."""

FORK_SAFE_KINDS = frozenset({"redis", "disque", "rabbitmq"})
"""Brokers whose libraries start no thread when they connect."""

MIGRATE = "Run 'manage.py migrate{option}'."


@dataclass
class Probe:
    """One question to one server, in a thread of its own."""

    place: str
    """Whom it asks, in a sentence."""
    ask: Callable[[], list[Problem]]
    found: list[Problem] = field(default_factory=list)
    ended: bool = False

    def run(self) -> None:
        try:
            self.found = self.ask()
        except LibraryNotInstalled as error:
            self.found = [Problem(problems.UNREACHABLE, "broker", str(error))]
        except ImproperlyConfigured:
            self.found = []  # the other checks say it
        except Exception as error:  # noqa: BLE001  a check is no place for a traceback, whatever a driver raises
            self.found = [unreachable(f"{self.place} cannot be used: {str(error) or type(error).__name__}")]
        finally:
            self.ended = True


def probe(settings: Settings, seconds: float = PROBE_SECONDS) -> list[Problem]:
    """What is wrong with the servers that these settings name, and which of them are as they should be."""
    probes = list(_probes(settings, seconds))
    threads = [threading.Thread(target=each.run, daemon=True) for each in probes if not _in_this_thread(each)]
    for thread in threads:
        thread.start()
    for each in probes:
        if _in_this_thread(each):
            each.run()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"has not answered within {seconds:g} seconds."
    return [
        problem for each in probes for problem in (each.found if each.ended else [unreachable(f"{each.place} {late}")])
    ]


def unreachable(sentence: str) -> Problem:
    return Problem(problems.UNREACHABLE, "broker", " ".join(sentence.split()), "Start it, or correct the address.")


def _in_this_thread(one: Probe) -> bool:
    """Whether to ask in this thread: SQLite answers immediately, and a database in memory belongs to one thread."""
    return isinstance(one, DatabaseProbe) and is_sqlite(connections[one.alias])


@dataclass
class DatabaseProbe(Probe):
    alias: str = ""


def _probes(settings: Settings, seconds: float) -> Iterator[Probe]:
    wanted = {settings.results.database or router.db_for_write(Task): [*RESULT_MODELS]}
    for section in sections_of(settings):
        try:
            is_orm = shipped_kind(section) == "orm"
            room = is_orm or needs_delay_queue(section)
        except ImproperlyConfigured:
            continue
        if room:
            alias = section.options.get("alias") if is_orm else None
            models = wanted.setdefault(alias or router.db_for_write(QueuedTask), [])
            models += [model for model in QUEUE_MODELS if model not in models]
        if not is_orm:
            yield Probe(_place(section), lambda section=section: ask_broker(section))  # type: ignore[misc]
    for alias, models in wanted.items():
        if alias in connections:
            yield DatabaseProbe(
                f"The database {alias!r}",
                lambda alias=alias, models=models: ask_database(alias, models, seconds / 2),  # type: ignore[misc]
                alias=alias,
            )


def obstacle_to_start(settings: Settings) -> str:
    """Why a cluster with these settings could never work, however long it waited, in a sentence; empty if it could.

    Tables that are missing, and servers that do not let us in. A server that does not answer may come back.
    """
    for each in _probes(settings, PROBE_SECONDS):
        if isinstance(each, DatabaseProbe) and (found := _obstacle_of_database(each)):
            return found
    for section in settings.broker_sections:
        if found := _obstacle_of_broker(section):
            return found
    return ""


def _obstacle_of_database(one: DatabaseProbe) -> str:
    try:
        found = one.ask()
    except ImproperlyConfigured:
        return ""  # the other checks say it
    except Exception as error:  # noqa: BLE001  whatever a driver raises, the processes of the cluster meet it again
        return " ".join(f"{one.place} cannot be used: {error}".split()) if is_refused_entry(error) else ""
    lacking = [f"{problem.sentence} {problem.hint}" for problem in found if problem.id == problems.MISSING_TABLES]
    return lacking[0] if lacking else ""


def _obstacle_of_broker(section: BrokerSettings) -> str:
    """Asks only where that leaves no thread behind: the caller will fork."""
    try:
        if shipped_kind(section) not in FORK_SAFE_KINDS:
            return ""
        with closing(open_broker(section)) as broker:
            broker.ping()
    except BrokerRefused as error:
        return " ".join(f"{_place(section)} cannot be used: {error}".split())
    except (BrokerError, ImproperlyConfigured):
        pass
    return ""


def sections_of(settings: Settings) -> list[BrokerSettings]:
    """The brokers that the settings name, each once."""
    found: list[BrokerSettings] = []
    for section in (*settings.broker_sections, *settings.brokers.values(), *settings.queue_brokers.values()):
        if section not in found:
            found.append(section)
    return found


def _place(section: BrokerSettings) -> str:
    kind = section.class_path or section.kind
    return f"The broker {section.alias!r} ({kind})" if section.alias else f"The broker ({kind})"


def ask_broker(section: BrokerSettings) -> list[Problem]:
    """Raises ``BrokerError`` and ``ImproperlyConfigured``."""
    with closing(open_broker(section)) as broker:
        broker.ping()
        concerns = [Problem(problems.SERVER_CONCERN, "broker", concern) for concern in broker.warnings()]
        return [*concerns, Problem(problems.SERVER_ANSWERS, "broker", f"{_place(section)} answers: {broker.info()}.")]


def ask_database(alias: str, models: list[type[Model]], seconds: float) -> list[Problem]:
    """Raises the errors of the database."""
    own = connections[alias].connection is None
    hint = MIGRATE.format(option="" if alias == "default" else f" --database {alias}")
    try:
        if missing := missing_tables(alias, models, seconds):
            sentence = f"The database {alias!r} lacks the tables {', '.join(missing)}."
            return [Problem(problems.MISSING_TABLES, "orm", sentence, hint)]
        if behind := missing_migrations(alias, seconds):
            sentence = f"Migrations of django_cluster are not applied to the database {alias!r}: {', '.join(behind)}."
            return [Problem(problems.MISSING_TABLES, "orm", sentence, hint)]
    finally:
        if own:
            connections[alias].close()
    return [Problem(problems.SERVER_ANSWERS, "orm", f"The database {alias!r} answers and has the tables.")]
