"""Django middleware: what a request sends and logs has its correlation id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_cluster.core.correlation import MAX_LENGTH, correlate, trace_id_of

HEADERS = ("X-Correlation-ID", "X-Request-ID")
"""Headers that may name the request, where it has no ``traceparent``."""

Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Response] | Callable[[HttpRequest], Awaitable[Response]]


class CorrelationMiddleware:
    """All tasks that a request sends have one correlation id, and so has what the request logs.

    It is the trace id of a W3C ``traceparent`` header, or the header ``X-Correlation-ID`` or ``X-Request-ID``, or else
    new. The request has it as ``request.correlation_id``, the response as the header ``X-Correlation-ID``.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._async:
            return self._acall(request)
        with correlate(correlation_id_of(request)) as found:
            return _labelled(self._label(request, found)(request), found)

    async def _acall(self, request: HttpRequest) -> Response:
        with correlate(correlation_id_of(request)) as found:
            return _labelled(await self._label(request, found)(request), found)

    def _label(self, request: HttpRequest, found: str) -> Any:
        request.correlation_id = found  # type: ignore[attr-defined]
        return self.get_response


def correlation_id_of(request: HttpRequest) -> str:
    """The correlation id of a request, or its whole ``traceparent``; what its headers say is used only where it could
    be one."""
    parent: str = request.headers.get("traceparent", "")
    if trace_id_of(parent) is not None and len(parent) <= MAX_LENGTH and parent.isprintable():
        return parent
    for name in HEADERS:
        value = request.headers.get(name, "").strip()
        if 0 < len(value) <= MAX_LENGTH and value.isascii() and value.isprintable():
            return value
    return uuid4().hex


def _labelled(response: Response, correlation_id: str) -> Response:
    response.headers.setdefault("X-Correlation-ID", correlation_id)
    return response
