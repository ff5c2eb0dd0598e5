"""How projects and their tests write into Django-Q's ``Conf``: an overlay that holds until it is undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.test import override_settings

from django_cluster.conf import lay_over, load_settings
from django_cluster.core.settings.overlay import laid_over
from django_cluster.errors import InvalidSettings
from django_cluster.models import QueuedTask, Task
from django_cluster.tasks import async_task, result
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    from django_q.conf import Conf

    assert not [name for name in ("SYNC", "WORKERS", "TIMEOUT", "ORM") if name in vars(Conf)]
    lay_over({})


def test_sync_mode_is_switched_by_a_patch() -> None:
    from django_q.conf import Conf

    seen: list[object] = [Conf.SYNC]
    with patch.object(Conf, "SYNC", True):
        seen.append(Conf.SYNC)
        task_id = async_task(add, 1, 2)
        assert (result(task_id), QueuedTask.objects.count()) == (3, 0)
    assert [*seen, Conf.SYNC] == [False, True, False]
    async_task(add, 1, 2)
    assert QueuedTask.objects.count() == 1


def test_a_patch_by_path_and_a_decorator() -> None:
    from django_q.conf import Conf

    @patch("django_q.conf.Conf.SAVE_LIMIT", -1)
    def run() -> int:
        async_task(add, 1, 2, sync=True)
        return load_settings().results.save_limit

    assert run() == -1
    assert (Conf.SAVE_LIMIT, Task.objects.count()) == (250, 0)


def test_an_assignment_holds_until_the_old_value_is_set_again() -> None:
    from django_q.conf import Conf

    before = Conf.TIMEOUT
    Conf.TIMEOUT = 7
    with override_settings(Q_CLUSTER={"timeout": 30}):
        assert (Conf.TIMEOUT, load_settings().processes.timeout) == (7, 7)
    Conf.TIMEOUT = before

    with override_settings(Q_CLUSTER={"timeout": 30}):
        assert Conf.TIMEOUT == 30


def test_monkeypatch_sets_and_undoes(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_q.conf import Conf

    with monkeypatch.context() as undone:
        undone.setattr(Conf, "WORKERS", 3)
        assert load_settings().processes.workers == 3
    with override_settings(Q_CLUSTER={"workers": 5}):
        assert Conf.WORKERS == 5


def test_an_assignment_is_undone_by_del() -> None:
    from django_q.conf import Conf

    Conf.RETRY, Conf.COMPRESSED = 17, True
    assert (load_settings().broker.lease, bool(load_settings().signing.compress)) == (17, True)
    del Conf.RETRY, Conf.COMPRESSED
    assert (load_settings().broker.lease, bool(load_settings().signing.compress)) == (60, False)


def test_a_patch_with_the_value_that_it_has_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_q.conf import Conf

    with patch.object(Conf, "SYNC", Conf.SYNC):
        assert Conf.SYNC is False
    with monkeypatch.context() as undone:
        undone.setattr(Conf, "WORKERS", Conf.WORKERS)
    with override_settings(Q_CLUSTER={"workers": 5}):
        assert Conf.WORKERS == 5


def test_a_value_that_cannot_be_used_is_refused_and_changes_nothing() -> None:
    from django_q.conf import Conf

    with pytest.raises(InvalidSettings, match="workers"):
        Conf.WORKERS = "many"
    assert isinstance(Conf.WORKERS, int)


def test_the_name_of_the_queue_can_be_set() -> None:
    from django_q.brokers import get_broker
    from django_q.conf import Conf

    with patch.object(Conf, "CLUSTER_NAME", "aside"):
        assert get_broker().list_key == "aside"
    assert get_broker().list_key == "tests"


def test_brokers_are_chosen_as_there() -> None:
    from django_q.conf import Conf

    with override_settings(Q_CLUSTER={"redis": {"host": "127.0.0.1"}}):
        Conf.ORM = "default"
        assert (load_settings().broker.kind, Conf.ORM, Conf.REDIS) == ("orm", "default", {"host": "127.0.0.1"})
        Conf.ORM = None
        assert (load_settings().broker.kind, Conf.ORM) == ("redis", None)


@pytest.mark.parametrize(
    ("written", "overlay", "chosen"),
    [
        ({"orm": "default"}, {"redis": {"db": 1}}, {"orm": "default"}),
        ({"orm": "default"}, {"redis": {"db": 1}, "orm": None}, {"redis": {"db": 1}}),
        ({"orm": "default", "broker": "orm"}, {"sqs": {}}, {"sqs": {}}),
        ({"rabbitmq": {}}, {"broker_class": "a.B"}, {"broker_class": "a.B"}),
        ({"orm": "default"}, {"orm": None}, {"redis": {}}),
        ({"rabbitmq": {}}, {"workers": 1}, {"rabbitmq": {}, "workers": 1}),
    ],
)
def test_the_first_broker_of_django_qs_order_counts(
    written: dict[str, Any], overlay: dict[str, Any], chosen: dict[str, Any]
) -> None:
    assert laid_over(written, overlay) == chosen


def test_the_overlay_holds_for_alternative_clusters_but_for_its_names() -> None:
    found = laid_over({"ALT_CLUSTERS": {"long": {"timeout": 900}, "odd": 1}}, {"timeout": 5, "name": "x"})

    assert found == {"timeout": 5, "name": "x", "ALT_CLUSTERS": {"long": {"timeout": 5}, "odd": 1}}
