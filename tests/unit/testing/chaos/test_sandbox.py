"""The sandbox_settings place of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_cluster.errors import ClusterError
from django_cluster.testing.chaos.sandbox import Sandbox, sandbox_settings
from tests.conftest import make_settings


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox.create(make_settings(broker={"kind": "orm"}), lease=6.0)
    yield sandbox
    sandbox.remove()


def test_a_stage_has_a_queue_and_a_group_of_its_own(sandbox: Sandbox) -> None:
    other = Sandbox.create(make_settings(broker={"kind": "orm"}), lease=6.0)
    other.remove()

    assert sandbox.settings.queue == sandbox.settings.broker.queue == sandbox.group
    assert sandbox.group not in ("tests", other.group)


def test_the_stage_keeps_the_name_of_the_site_so_that_its_schedules_are_left_alone(sandbox: Sandbox) -> None:
    assert sandbox.settings.name == sandbox.settings.broker.name == "tests"
    assert sandbox.settings.queue != sandbox.settings.name


def test_what_the_user_has_set_stays() -> None:
    settings = make_settings(processes={"workers": 7, "recycle": 3}, broker={"poll": 0.7})

    derived = sandbox_settings(settings, "chaos-1", 6.0)

    assert (derived.processes.workers, derived.processes.recycle, derived.broker.poll) == (7, 3, 0.7)
    assert derived.signing.secret == settings.signing.secret


def test_messages_are_signed_for_the_queue_of_the_stage_and_its_functions_are_allowed() -> None:
    settings = make_settings(signing={"functions": ("registered",), "max_message_age": 1.0})

    derived = sandbox_settings(settings, "chaos-1", 6.0)

    assert (derived.signing.queue, derived.signing.functions) == ("chaos-1", ("any",))
    assert derived.signing.max_message_age is None


def test_neither_deaths_nor_attempts_end_a_task_for_good() -> None:
    settings = make_settings(delivery={"max_attempts": 1, "ack_failures": True}, sync=True, results={"cached": True})

    derived = sandbox_settings(settings, "chaos-1", 6.0)

    assert (derived.delivery.max_attempts, derived.delivery.max_worker_deaths) == (0, 0)
    assert (derived.delivery.ack_failures, derived.sync) == (False, False)
    assert (derived.results.cached, derived.results.save_limit) == (False, 0)


def test_the_folder_goes_when_it_is_cleared_away(sandbox: Sandbox) -> None:
    assert sandbox.folder.is_dir()

    sandbox.remove()

    assert not sandbox.folder.exists()


def test_a_broker_that_lives_in_one_process_is_refused() -> None:
    with pytest.raises(ClusterError, match="one process"):
        Sandbox.create(make_settings(), lease=6.0)
