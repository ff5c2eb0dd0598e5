"""A request's tasks and log lines have one correlation id, which the response names."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_cluster.core.correlation import current_correlation_id
from django_cluster.middleware import CorrelationMiddleware

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current_correlation_id())


async def async_view(request: HttpRequest) -> HttpResponse:
    return view(request)


def answer(**headers: str) -> HttpResponse:
    found: HttpResponse = CorrelationMiddleware(view)(RequestFactory().get("/", headers=headers))
    return found


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "7"}, TRACE),
        ({"X-Correlation-ID": "order 7", "X-Request-ID": "7"}, "order 7"),
        ({"traceparent": "nonsense", "X-Request-ID": "7"}, "7"),
    ],
)
def test_a_request_that_says_its_id_keeps_it(headers: dict[str, str], expected: str) -> None:
    response = answer(**headers)
    assert response.content.decode() == response.headers["X-Correlation-ID"] == expected
    assert current_correlation_id() is None


@pytest.mark.parametrize("value", ["", "x" * 101, "schön", "two\x00"])
def test_any_other_request_has_a_new_one(value: str) -> None:
    first, second = answer(**{"X-Request-ID": value}), answer()
    assert len(first.content) == len(second.content) == 32
    assert first.content != second.content


def test_in_async_code_as_well() -> None:
    async def ask() -> Any:
        return await CorrelationMiddleware(async_view)(RequestFactory().get("/", headers={"X-Request-ID": "7"}))

    assert async_to_sync(ask)().content == b"7"
