"""Views for programs that watch a project: load balancers, probes, monitoring."""

from __future__ import annotations

import time
from threading import Lock
from typing import Any, ClassVar

from django.http import HttpRequest, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View

from django_cluster import control
from django_cluster.service import get_task_service

Report = dict[str, Any]


@method_decorator(never_cache, name="dispatch")
class HealthView(View):
    """``{"status": "healthy" | "degraded" | "unhealthy", "reasons": [...]}`` as JSON; the HTTP status is 503 for
    ``unhealthy``, otherwise 200.

    ``reasons`` name hosts and queues: they are shown to users with the permission to see clusters, and to everybody
    with ``HealthView.as_view(public=True)``. Servers are asked at most once in ``cache_seconds`` by each process,
    however many requests come.
    """

    http_method_names = ["get", "head", "options"]
    public: bool = False
    max_latency: float | None = None
    """Seconds; a longer median wait of tasks is ``degraded``."""
    cache_seconds: float = 2.0

    _reports: ClassVar[dict[float | None, tuple[float, Report]]] = {}
    _asking: ClassVar[Lock] = Lock()
    """Held while the servers are asked: of many requests at the same moment one asks."""

    def get(self, request: HttpRequest) -> JsonResponse:
        report = self._report()
        shown = report if self.public or _may_see(request) else {"status": report["status"]}
        return JsonResponse(shown, status=503 if report["status"] == "unhealthy" else 200)

    def _report(self) -> Report:
        with self._asking:
            asked_at, report = self._reports.get(self.max_latency, (float("-inf"), {}))
            if time.monotonic() - asked_at > self.cache_seconds:
                report = get_task_service().health(self.max_latency)
                self._reports[self.max_latency] = time.monotonic(), report
            return report


def _may_see(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return user is not None and user.has_perm(control.PERMISSIONS["clusters"])


health = HealthView.as_view()
"""``path("health/", django_cluster.views.health)``."""
