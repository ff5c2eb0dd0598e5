"""How projects embed Django-Q: clusters, commands to call and to inherit from, status, names, and the log."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.test import override_settings

from django_cluster.core.events.cluster import CLUSTER_RUNNING, CLUSTER_STARTING, CLUSTER_STOPPED, CLUSTER_STOPPING
from django_cluster.core.events.event import LOGGER
from django_cluster.django_q.shim.logs import DjangoQLines, speak_as_django_q

pytestmark = pytest.mark.django_db


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────


def test_a_cluster_that_was_not_started_is_not_stopped() -> None:
    from django_q.cluster import Cluster

    cluster = Cluster()

    assert cluster.stop() is False
    assert (cluster.sentinel, cluster.is_running) == (None, False)


def test_a_cluster_that_cannot_start_raises_a_runtime_error_and_leaves_the_signals() -> None:
    from django_q.cluster import Cluster

    from django_cluster.errors import ClusterError

    before = signal.getsignal(signal.SIGTERM)
    base = "django_cluster.cluster.supervisor.embedded_cluster.Cluster.start"
    with patch(base, side_effect=ClusterError("no room")), pytest.raises(RuntimeError, match="no room"):
        Cluster().start()

    assert signal.getsignal(signal.SIGTERM) is before


def test_the_handler_of_the_program_is_called_after_the_cluster_has_stopped() -> None:
    from django_q.cluster import Cluster

    told: list[str] = []
    cluster = Cluster()
    before = signal.signal(signal.SIGTERM, lambda *_: told.append("program"))
    try:
        cluster._take_signals()
        with patch.object(cluster, "stop", side_effect=lambda: told.append("stopped")):
            signal.raise_signal(signal.SIGTERM)
            cluster._is_booting = True
            signal.raise_signal(signal.SIGTERM)
        cluster._return_signals()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert told == ["stopped", "program", "program"]
    assert cluster._stop_wanted


def test_a_sentinel_can_be_made_without_running_it() -> None:
    from threading import Event

    from django_q.cluster import Sentinel, Stat, Status

    sentinel = Sentinel(Event(), Event(), "0" * 32, start=False)

    assert sentinel.status() == "Stopped"
    assert issubclass(Stat, Status)


def test_stat_is_found_where_old_versions_have_it() -> None:
    from django_q.monitor import Stat
    from django_q.status import Stat as Same

    assert Stat is Same
    with pytest.raises(ImportError, match="save_task"):
        from django_q.monitor import save_task  # noqa: F401


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["qmonitor", "qmemory"])
def test_a_command_is_called_once_by_django_qs_name_of_the_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command(command, run_once=True)

    assert "No cluster is running" in capsys.readouterr().out


@pytest.fixture
def queues() -> Iterator[list[Any]]:
    """The queues of the clusters that a command would have run."""
    seen: list[Any] = []

    class Quick:
        def __init__(self, settings: Any, *_: Any, **__: Any) -> None:
            seen.append(settings.queue)

        def run(self) -> int:
            return 0

    with patch("django_cluster.management.commands.qcluster.Sentinel", Quick):
        yield seen


def test_a_cluster_is_run_by_name(queues: list[Any]) -> None:
    for options in ({"cluster_name": "long"}, {"name": ["other"]}, {}):
        with pytest.raises(SystemExit) as done:
            call_command("qcluster", **options)
        assert done.value.code == 0

    assert queues == ["long", "other", "tests"]


def test_a_command_that_inherits_sees_the_options_of_django_q(queues: list[Any]) -> None:
    from django_q.management.commands.qcluster import Command

    seen: list[Any] = []

    class Own(Command):  # type: ignore[misc]  # Django-Q's class has no types
        def handle(self, *args: Any, **options: Any) -> None:
            seen.append((options.get("cluster_name"), options["run_once"]))
            super().handle(*args, **options)

    for arguments in (["-n", "long"], ["--run-once"], []):
        with pytest.raises(SystemExit):
            call_command(Own(), *arguments)
    with pytest.raises(SystemExit):
        call_command(Own(), cluster_name="other")

    assert seen == [("long", False), (None, True), (None, False), ("other", False)]
    assert queues == ["long", "tests", "tests", "other"]


def test_a_command_may_be_patched() -> None:
    with patch("django_q.management.commands.qcluster.Cluster") as cluster:
        from django_q.management.commands import qcluster

        assert qcluster.Cluster is cluster
    assert qcluster.Cluster is not cluster


# ── small things ─────────────────────────────────────────────────────────────────────────────────


def test_names_are_made_by_a_hasher() -> None:
    from django_q.humanhash import DEFAULT_WORDLIST, HumanHasher, humanize

    name, digits = HumanHasher().uuid()
    assert (len(DEFAULT_WORDLIST), len(digits), name) == (256, 32, humanize(digits))
    assert HumanHasher().humanize(digits, words=8, separator="_").count("_") == 7
    upper = HumanHasher([word.upper() for word in DEFAULT_WORDLIST])
    assert upper.humanize(digits) == name.upper()
    with pytest.raises(ValueError, match="256 words"):
        HumanHasher(["one"])
    with pytest.raises(ValueError, match="do not make 9 words"):
        humanize("00" * 8, words=9)


def test_old_connections_are_closed_but_not_those_of_the_caller() -> None:
    from django_q.utils import close_old_django_connections

    with patch("django_cluster.django_q.shim.utils.close_old_connections") as close:
        close_old_django_connections()
        with override_settings(Q_CLUSTER={"sync": True}):
            close_old_django_connections()

    close.assert_called_once_with()


# ── the log ──────────────────────────────────────────────────────────────────────────────────────


class Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append((record.levelname, record.getMessage()))


@pytest.fixture
def ear() -> Iterator[Ear]:
    """A handler of Django-Q's logger; everything is as it was afterwards."""
    theirs, handler = logging.getLogger("django-q"), Ear()
    before = LOGGER.parent, LOGGER.filters[:], LOGGER.level, theirs.level, theirs.propagate
    theirs.addHandler(handler)
    theirs.propagate = False
    yield handler
    theirs.removeHandler(handler)
    LOGGER.parent, LOGGER.filters = before[:2]
    LOGGER.setLevel(before[2])
    theirs.setLevel(before[3])
    theirs.propagate = before[4]


def tell_a_life() -> None:
    CLUSTER_STARTING.log(namespace="shop", queues="shop", workers=2, sentinel_pid=1, cluster_id="0" * 32)
    CLUSTER_RUNNING.log(namespace="shop")
    CLUSTER_STOPPING.log(namespace="shop")
    CLUSTER_STOPPED.log(namespace="shop")


def test_what_is_configured_for_django_q_hears_the_cluster_and_django_qs_lines(ear: Ear) -> None:
    LOGGER.setLevel(logging.NOTSET)
    speak_as_django_q()
    speak_as_django_q()
    logging.getLogger("django-q").setLevel("INFO")
    tell_a_life()
    logging.getLogger("django-q").setLevel("WARNING")
    tell_a_life()

    messages = [message for _, message in ear.heard]
    (name,) = {message.split()[2] for message in messages if message.startswith("Q Cluster")}
    assert name.count("-") == 3
    assert messages == [
        f"Q Cluster {name} starting.",
        "Cluster shop starting: queues shop, 2 workers, sentinel pid 1",
        f"Q Cluster {name} [shop] running.",
        "Cluster shop is running",
        f"Q Cluster {name} stopping.",
        "Cluster shop stopping: waiting for running tasks",
        f"Q Cluster {name} has stopped.",
        "Cluster shop stopped",
    ]


def test_without_the_shim_nothing_of_django_q_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert not [each for each in LOGGER.filters if isinstance(each, DjangoQLines)]

    tell_a_life()

    assert "Q Cluster" not in caplog.text


def test_the_logger_is_django_qs() -> None:
    from django_q.conf import logger

    assert logger is logging.getLogger("django-q")
