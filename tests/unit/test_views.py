"""The health of a project's tasks over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.test import RequestFactory

from django_cluster import views
from django_cluster.brokers import memory
from django_cluster.service import TaskService
from django_cluster.views import HealthView

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> Iterator[None]:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory"}
    memory.reset()
    HealthView._reports.clear()
    yield
    HealthView._reports.clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What the service was asked for; it says that some tasks are late."""
    found: list[float | None] = []

    def health(self: TaskService, max_latency: float | None = None) -> dict[str, Any]:
        found.append(max_latency)
        return {"status": "degraded", "reasons": ["Queue mail is paused."]}

    monkeypatch.setattr(TaskService, "health", health)
    return found


def get(view: Any = views.health, user: Any = None) -> tuple[int, Any]:
    request = RequestFactory().get("/health/")
    request.user = user or AnonymousUser()
    response = view(request)
    return response.status_code, json.loads(response.content)


def test_without_a_cluster_the_answer_is_503() -> None:
    assert get() == (503, {"status": "unhealthy"})


@pytest.mark.usefixtures("asked")
def test_late_tasks_are_no_reason_to_take_the_site_out_of_service() -> None:
    assert get() == (200, {"status": "degraded"})


@pytest.mark.usefixtures("asked")
def test_the_reasons_are_for_those_who_may_see_clusters() -> None:
    ada = User.objects.create_user("ada")
    assert get(user=ada) == (200, {"status": "degraded"})

    ada.user_permissions.add(Permission.objects.get(codename="view_heartbeat"))
    assert get(user=User.objects.get(pk=ada.pk))[1]["reasons"] == ["Queue mail is paused."]
    assert get(HealthView.as_view(public=True))[1]["reasons"] == ["Queue mail is paused."]


def test_many_requests_ask_the_servers_once(asked: list[float | None]) -> None:
    view = HealthView.as_view(max_latency=5.0)
    for _ in range(3):
        get(view)
    get()

    assert asked == [5.0, None]


def test_of_requests_at_the_same_moment_one_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    all_here, second = threading.Barrier(4, timeout=30), threading.Event()

    def health(self: TaskService, max_latency: float | None = None) -> dict[str, Any]:
        if asked:
            second.set()
        asked.append(max_latency)
        second.wait(0.2)  # for another that asks, too, which must not come
        return {"status": "healthy", "reasons": []}

    def ask() -> tuple[int, Any]:
        all_here.wait()
        return get()

    monkeypatch.setattr(TaskService, "health", health)
    with ThreadPoolExecutor(4) as threads:
        answers = [each.result() for each in [threads.submit(ask) for _ in range(4)]]

    assert answers == [(200, {"status": "healthy"})] * 4
    assert asked == [None]


def test_an_answer_is_not_kept_longer_than_it_may(asked: list[float | None]) -> None:
    view = HealthView.as_view(cache_seconds=-1.0)
    get(view)
    get(view)

    assert asked == [None, None]


def test_no_cache_keeps_the_answer() -> None:
    assert "no-store" in views.health(RequestFactory().get("/health/"))["Cache-Control"]
