"""Installs in a worker what observes its runs."""

from __future__ import annotations

from collections.abc import Callable

from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.log_ring import LogRing, ring_file
from django_cluster.cluster.roles.host_facts import host_facts
from django_cluster.core.correlation import running_task
from django_cluster.core.settings import ProcessSettings
from django_cluster.lifecycle.run_observation import RunObserver, count_queries, install_run_log


def observe_runs(incarnation: Incarnation, settings: ProcessSettings) -> RunObserver | None:
    """Keep log lines and count queries from now on; None where failures are not explained."""
    environment = host_facts(settings)
    if environment is None:
        return None
    install_run_log(line_sink(incarnation))
    count_queries()
    return RunObserver(environment, with_variables=settings.post_mortem_variables)


def line_sink(incarnation: Incarnation) -> Callable[[str], None] | None:
    """Keeps lines where the pusher finds them if this process is killed; None where there is no room for them."""
    try:
        ring = LogRing(ring_file(incarnation.runtime_dir.path, incarnation.number))
    except OSError:
        return None

    def keep(line: str) -> None:
        scope = running_task()
        if scope is not None and scope[0] is not None:
            ring.add(scope[0].id, line)

    return keep
