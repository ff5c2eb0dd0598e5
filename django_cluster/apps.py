"""The Django app."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from zoneinfo import ZoneInfo

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.functional import lazy
from django.utils.translation import gettext

from django_cluster.core.redaction import Redactor
from django_cluster.django_q import replaces_django_q
from django_cluster.errors import InvalidSettings


def shown_label() -> str:
    """The name of the app in the admin: the setting ``label``, read each time a page is rendered."""
    from django_cluster.conf import load_settings
    from django_cluster.core.settings import DEFAULT_LABEL

    try:
        label = load_settings().label
    except InvalidSettings:  # the checks say what is wrong; the admin can be drawn all the same
        label = DEFAULT_LABEL
    return gettext("Django Cluster") if label == DEFAULT_LABEL else label


class DjangoClusterConfig(AppConfig):
    """Registers the system checks; opens nothing, starts nothing."""

    name = "django_cluster"
    label = "django_cluster"
    verbose_name = lazy(shown_label, str)()
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_cluster import checks  # noqa: F401  importing it registers the checks
        from django_cluster.core.log_filter import install_filter
        from django_cluster.core.redaction import use_redactor
        from django_cluster.core.time import LocalTime
        from django_cluster.models import QueuedTask, Schedule
        from django_cluster.models.json_references import register_django_types
        from django_cluster.models.postgres_storage import disable_compression
        from django_cluster.models.row_signing import install_serializer
        from django_cluster.schedules.declarations import TaskModules

        register_django_types()
        install_serializer(serializer_of_rows)
        post_migrate.connect(disable_compression, sender=self)
        Schedule.default_zone = staticmethod(zone_of_schedules)
        QueuedTask.name_in_table = staticmethod(name_in_queue_table)
        LocalTime.zone = staticmethod(zone_of_naive_times)
        TaskModules.names = staticmethod(task_modules_of_project)
        use_redactor(redactor_of_project)
        install_filter()
        if replaces_django_q():
            from django_cluster.django_q.shim.logs import speak_as_django_q

            speak_as_django_q()


def zone_of_naive_times() -> tzinfo | None:
    """The zone in which Django's forms read a time; None without ``USE_TZ``: the time zone of the process."""
    from django.utils import timezone

    return timezone.get_current_timezone() if timezone.is_aware(timezone.now()) else None


def name_in_queue_table(queue: str) -> str:
    """The name in the queue table of a queue of this project."""
    from django_cluster.conf import load_settings
    from django_cluster.core.queue_names import table_queue_name

    return table_queue_name(load_settings().name, queue)


def task_modules_of_project() -> Sequence[str]:
    """What ``Q_CLUSTER`` says; with settings that cannot be used, the default."""
    from django_cluster.conf import load_settings
    from django_cluster.schedules.declarations import DEFAULT_TASK_MODULES

    try:
        return load_settings().task_modules
    except InvalidSettings:
        return DEFAULT_TASK_MODULES


def redactor_of_project() -> Redactor:
    """The project's rules for masking; the settings are read at the first use."""
    from django_cluster.conf import project_redactor

    return project_redactor()


def zone_of_schedules() -> tzinfo | None:
    """The time zone of schedules by ``Q_CLUSTER``, read at each call."""
    from django_cluster.conf import load_settings

    name = load_settings().schedule.time_zone
    return ZoneInfo(name) if name else None


def serializer_of_rows() -> str:
    """The serializer of rows by ``Q_CLUSTER``; ``json`` if the settings cannot be used, so that no pickle is loaded."""
    from django_cluster.conf import load_settings
    from django_cluster.errors import InvalidSettings

    try:
        return load_settings().signing.serializer
    except InvalidSettings:
        return "json"
