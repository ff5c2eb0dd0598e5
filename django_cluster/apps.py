"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoClusterConfig(AppConfig):
    """Registers the system checks; opens nothing, starts nothing."""

    name = "django_cluster"
    label = "django_cluster"
    verbose_name = _("Django Cluster")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_cluster import checks  # noqa: F401  importing it registers the checks
