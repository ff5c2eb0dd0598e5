"""Does once, before the first fork, what every process would have to do for itself.

Imports, compiled regular expressions, the caches of Django's models: what is created when something is done for the
first time takes memory in each process that does it, and is shared when it exists before the fork.
Nothing here opens a connection.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  needed by each connection to a host name
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connections

from django_cluster.brokers import open_brokers
from django_cluster.brokers.publisher import delay_queue
from django_cluster.cluster.roles.heartbeat import versions
from django_cluster.core.codec import Codec
from django_cluster.core.events.processes import WARM_UP_FAILED
from django_cluster.core.messages import DEFAULT_OPTIONS, Job, TaskPackage
from django_cluster.core.packages import build_packages
from django_cluster.core.redaction import redactor
from django_cluster.core.settings import Settings
from django_cluster.core.signing import ValueSigner
from django_cluster.lifecycle.admission import ALL_FUNCTIONS
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.tracking import TrackedRun
from django_cluster.models import Schedule
from django_cluster.models.task import saved_tasks
from django_cluster.stores import open_results


class SignallessExecutor(Executor):
    """Runs a task without sending signals: a receiver could open a connection, which all processes would share."""

    def _call(
        self,
        func: Callable[..., Any],
        package: TaskPackage,
        attempt: int,
        tracked: TrackedRun | None = None,
        concurrent: bool = False,
    ) -> object:
        return func(*package.args, **package.kwargs)


def warm_up(settings: Settings) -> None:
    """Never raises: errors in the settings are reported by the process that they concern."""
    for part in (_create_adapters, _run_task, _compile_queries, _fill_caches):
        try:
            part(settings)
        except Exception:  # noqa: BLE001  whatever the project raises is said by the child that it concerns
            WARM_UP_FAILED.log(exc_info=True)


def _create_adapters(settings: Settings) -> None:
    """Create the brokers and stores, which connect only when they are used."""
    open_results(settings.results)
    open_brokers(settings)
    for section in settings.broker_sections:
        delay_queue(section)  # a broker of its own


def _run_task(settings: Settings) -> None:
    """Run one task, from its package to its outcome."""
    signing = replace(settings.signing, functions=ALL_FUNCTIONS, middleware=())  # this task is not one of the project
    codec = Codec(signing)
    seal = ValueSigner(signing.secret, signing.fallbacks, signing.serializer)
    executor = SignallessExecutor(codec, seal, ErrorReporters({}), timeout=None, worker="")
    package = build_packages(operator.not_, [(1,)], {}, DEFAULT_OPTIONS)[0]
    executor.run(Job(1, codec.verify(codec.dumps(package)), "", 1))


def _compile_queries(settings: Settings) -> None:
    """Compile typical queries. Compiling SQL needs no connection."""
    rows = saved_tasks(settings.results.database)
    for query in (
        Schedule.objects.using(rows.db).filter(next_run__isnull=False).order_by("next_run")[:1],
        rows.filter(pk__in=["none"], success=True).values_list("pk"),
    ):
        query.query.get_compiler(query.db).as_sql()
        connections[query.db].get_connection_params()  # loads a table of all types for PostgreSQL


def _fill_caches(settings: Settings) -> None:
    """Fill caches of values that never change, and are slow to find."""
    versions()
    redactor()
    if settings.schedule.time_zone:
        ZoneInfo(settings.schedule.time_zone)
