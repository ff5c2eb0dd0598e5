"""The pages of the app ``django_q``: Django-Q's addresses, names of pages and permissions.

The same pages as those of ``django_cluster``, under ``/admin/django_q/…``. The index of the admin lists a page only for
users who may not see its twin.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from django_cluster.admin.base import ModelAdmin
from django_cluster.admin.finished_tasks import FailureAdmin, SuccessAdmin
from django_cluster.admin.queue import QueuedTaskAdmin
from django_cluster.admin.schedules import ScheduleAdmin
from django_cluster.django_q import models


class TwinAdmin(ModelAdmin):
    """A page under Django-Q's name."""

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Nothing, which hides the page from the index, for users who see the page of ``django_cluster`` there."""
        twin = self.model._meta.proxy_for_model
        if twin is None or not any(
            request.user.has_perm(f"django_cluster.{verb}_{twin._meta.model_name}") for verb in ("view", "change")
        ):
            return super().get_model_perms(request)
        return {}


def _twin(base: type[Any]) -> type[Any]:
    return type(base.__name__, (TwinAdmin, base), {"__module__": __name__})


TWINS = {
    models.Success: SuccessAdmin,
    models.Failure: FailureAdmin,
    models.Schedule: ScheduleAdmin,
    models.OrmQ: QueuedTaskAdmin,
}
for _model, _base in TWINS.items():
    admin.site.register(_model, _twin(_base))
