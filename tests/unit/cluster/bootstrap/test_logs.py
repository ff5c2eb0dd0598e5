"""Whose lines a cluster shows where the project has configured little or nothing."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from django_cluster.client.client import get_client
from django_cluster.cluster.bootstrap.logs import configure_logs, level_of
from django_cluster.core.settings import Settings


@contextmanager
def bare() -> Iterator[None]:
    """Logging as it is in a new process; what the test runner has set up comes back afterwards.

    No fixture: the runner adds handlers of its own when all fixtures are there.
    """
    root = logging.getLogger()
    known = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    before = [(each, each.handlers[:], each.level) for each in known]
    for each in known:
        each.handlers.clear()
        each.setLevel(logging.NOTSET)
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        mine = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
        for each in mine:
            each.handlers.clear()
            each.setLevel(logging.NOTSET)
        for each, handlers, level in before:
            each.handlers[:] = handlers
            each.setLevel(level)


def settings(**changes: object) -> Settings:
    return replace(get_client().settings, **{"log_root": True, **changes})  # type: ignore[arg-type]


@bare()
def test_the_projects_own_loggers_are_shown_where_nobody_has_configured_any() -> None:
    seen = io.StringIO()
    configure_logs(settings(), seen)

    logging.getLogger("shop.control").info("sold")
    logging.getLogger("shop.control").debug("counted")
    logging.getLogger("django_cluster").info("running")

    texts = [line.partition("] ")[2] for line in seen.getvalue().splitlines()]
    assert texts == ["INFO shop.control: sold", "INFO running"]


@bare()
def test_what_django_writes_to_a_console_is_not_written_twice() -> None:
    seen, console = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(console)
    handler.setLevel(logging.WARNING)
    logging.getLogger("django").addHandler(handler)
    configure_logs(settings(), seen)

    logging.getLogger("django.request").warning("slow")
    logging.getLogger("django.request").info("quick")

    assert "slow" in console.getvalue()
    assert "slow" not in seen.getvalue()
    assert "quick" in seen.getvalue()


@pytest.mark.parametrize("how", ["LOGGING", "a handler"])
@bare()
def test_where_the_project_has_configured_its_logs_only_ours_are_added(how: str) -> None:
    seen = io.StringIO()
    if how == "a handler":
        logging.getLogger("shop").addHandler(logging.StreamHandler(io.StringIO()))
    configure_logs(settings(log_root=how != "LOGGING"), seen)

    logging.getLogger("books").error("torn")
    logging.getLogger("django_cluster").info("running")

    assert "torn" not in seen.getvalue()
    assert "running" in seen.getvalue()
    assert logging.getLogger().handlers == []


@bare()
def test_a_root_handler_of_the_project_is_the_only_one() -> None:
    seen = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))

    configure_logs(settings(), seen)

    logging.getLogger("django_cluster").error("seen there")
    assert seen.getvalue() == ""


@pytest.mark.parametrize("asked", [False, True])
@bare()
def test_each_success_is_shown_if_somebody_asks(asked: bool) -> None:
    seen = io.StringIO()
    configure_logs(settings(log_tasks=asked), seen)

    logging.getLogger("django_cluster.tasks").debug("succeeded")
    logging.getLogger("django_cluster").debug("a detail")

    assert ("succeeded" in seen.getvalue()) is asked
    assert "a detail" not in seen.getvalue()


@pytest.mark.parametrize(("verbosity", "level"), [(0, "WARNING"), (1, "INFO"), (2, "INFO"), (3, "DEBUG")])
def test_verbosity_chooses_the_level(verbosity: int, level: str) -> None:
    assert level_of(verbosity, "INFO") == level
