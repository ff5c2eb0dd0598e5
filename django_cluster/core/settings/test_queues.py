"""While tests run, queues on a server have names of their own: no test touches the real queue.

The queue of the database needs none: the test runner has made another database. What is on Redis, RabbitMQ, SQS,
MongoDB, IronMQ or Disque would otherwise be shared with the cluster that works for the developer.

The name says to which checkout on which machine it belongs, and to which of several test processes. So tests that run
side by side do not see each other's tasks. Programs that a test starts inherit the name by an environment variable.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import BrokerSettings, Settings

VARIABLE = "DJANGO_CLUSTER_TEST_QUEUES"
"""The environment variable in which the suffix travels to programs that a test starts."""
PRIVATE_KINDS = frozenset({"orm", "memory"})
"""Brokers whose queues are a test's own anyhow: in the test database, or in the process."""

_owner = 0
"""The process that has chosen the suffix."""


def is_test_process() -> bool:
    """Whether this process runs tests: by the runner of Django, by pytest (with its plugin or not), or by unittest."""
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    if hasattr(state, "saved_data"):  # setup_test_environment() was called
        return True
    if "pytest" in sys.modules and ("PYTEST_VERSION" in os.environ or "PYTEST_CURRENT_TEST" in os.environ):
        return True
    return (getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None) or "").startswith("unittest.")


def suffix() -> str:
    """What is added to the names of queues on servers; "" in a process that has nothing to do with tests."""
    return f"test-{_place()}{_worker()}" if is_test_process() else os.environ.get(VARIABLE, "")


def export_suffix(suffix: str) -> None:
    """Tell the programs that a test will start; to be called when a queue was renamed, and not before.

    It applies to the queues of their own settings, which may differ from those of the test.
    """
    global _owner
    if is_test_process() and os.environ.get(VARIABLE) != suffix:
        os.environ[VARIABLE] = suffix
        _owner = os.getpid()


def is_owner() -> bool:
    """Whether this process has chosen the suffix, and so may empty what an earlier run has left."""
    return _owner == os.getpid()


@cache
def _place() -> str:
    """This checkout on this machine: the same in each run, so that no run leaves a queue more behind."""
    return hashlib.sha256(f"{platform.node()}:{os.getcwd()}".encode()).hexdigest()[:8]


def _worker() -> str:
    """Which of several processes that run tests side by side: of pytest-xdist, or of Django's ``--parallel``."""
    of_django = getattr(sys.modules.get("django.test.runner"), "_worker_id", 0)
    of_xdist = os.environ.get("PYTEST_XDIST_WORKER", "")
    return "".join(f"-{each}" for each in (of_xdist, of_django) if each)


def with_test_queues(settings: Settings, real: Iterable[BrokerSettings], suffix: str) -> Settings:
    """The settings with other names on servers, wherever they would have named what ``real`` does.

    What a test has named itself, on another server or under another name, stays as it is.
    """
    places = [_place_of(section) for section in real]

    def renamed(section: BrokerSettings) -> BrokerSettings:
        if section.kind in PRIVATE_KINDS or _place_of(section) not in places:
            return section
        return replace(section, name=f"{section.name}-{suffix}", options=_options(section, suffix))

    return replace(
        settings,
        broker=renamed(settings.broker),
        brokers=MaskedMapping({alias: renamed(each) for alias, each in settings.brokers.items()}),
        queue_brokers=MaskedMapping({queue: renamed(each) for queue, each in settings.queue_brokers.items()}),
    )


def sections_of(settings: Settings) -> list[BrokerSettings]:
    """All brokers that the settings know."""
    return [settings.broker, *settings.brokers.values(), *settings.queue_brokers.values()]


def _place_of(section: BrokerSettings) -> tuple[str, dict[str, Any], str]:
    return section.kind, dict(section.options), section.name


def _options(section: BrokerSettings, suffix: str) -> Mapping[str, Any]:
    """Names of queues at SQS, which may lack the name of the project."""
    pattern = section.options.get("queue_name")
    if section.kind != "sqs" or not isinstance(pattern, str) or "{name}" in pattern:
        return section.options
    stem, fifo = (pattern.removesuffix(".fifo"), ".fifo") if pattern.endswith(".fifo") else (pattern, "")
    return MaskedMapping({**section.options, "queue_name": f"{stem}-{suffix}{fifo}"})
