"""The form of a schedule: what it refuses, and why.

The permission to schedule any function is, in effect, one to run any code. Users without it choose among the
registered tasks, which is enforced here, on the server, for the function, for the hook, and for the options.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import AnyScheduleForm, Select
from django_cluster.admin.formatting import showable
from django_cluster.admin.suggestions import InputWithSuggestions
from django_cluster.conf import load_settings
from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.core.function_signatures import call_problem, load_function
from django_cluster.errors import ClusterError, FunctionNotAllowed, NotSerializable, UnknownFunction
from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.models import Schedule
from django_cluster.models.schedule_timing import MOMENTS
from django_cluster.schedules.creation import check_json
from django_cluster.schedules.declarations import registered_tasks
from django_cluster.schedules.planning import task_options

HARMLESS_OPTIONS = frozenset(
    {
        "ack_failure",
        "cached",
        "queue",
        "delay",
        "expires",
        "group",
        "max_attempts",
        "no_retry_on",
        "priority",
        "retry_delay",
    }
    | {"retry_on", "save", "task_name", "timeout"}
)
"""Options that name no code."""


CHANGED_BY_SCHEDULER = frozenset({"next_run", "repeats"})
"""Fields of the form that a scheduler changes while it is open."""


class ScheduleForm(AnyScheduleForm):
    """``any_function`` is set by the page, from the permissions of the user."""

    any_function = False

    class Meta:
        model = Schedule
        fields = (
            *("name", "func", "args", "kwargs", "hook", "queue", "intended_date_kwarg", "schedule_type", "minutes"),
            *("cron", "next_run", "repeats", "time_zone", "starts_at", "ends_at", "catch_up", "no_overlap", "enabled"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in MOMENTS & self.initial.keys():
            self.initial[name] = showable(self.initial[name])
        for name in CHANGED_BY_SCHEDULER & self.fields.keys():
            self._remember_what_was_shown(name)
        for name in {"args", "kwargs"} & self.fields.keys():  # who may only read has no fields
            self.fields[name].widget.attrs["rows"] = 2
        if self.any_function:
            self._suggest_registered_tasks()
        else:
            self._offer_registered_tasks()

    def _remember_what_was_shown(self, name: str) -> None:
        """A scheduler changes this meanwhile: the form tells whether the person has changed what it showed."""
        shown_before = f"initial-{self.add_prefix(name)}"
        self.fields[name].show_hidden_initial = not self.is_bound or any(
            key.startswith(shown_before) for key in self.data
        )

    def _suggest_registered_tasks(self) -> None:
        paths = registered_tasks()
        for name in {"func", "hook"} & self.fields.keys():
            self.fields[name].widget = InputWithSuggestions(self.fields[name].widget, paths)

    def _offer_registered_tasks(self) -> None:
        choices = [("", "---------"), *((path, path) for path in registered_tasks())]
        for name in {"func", "hook"} & self.fields.keys():
            self.fields[name].widget = Select(choices=choices)
        if "func" in self.fields:
            self.fields["func"].help_text = _("You may schedule the tasks that are registered in the code")

    def clean_func(self) -> str:
        return self._known(self.cleaned_data["func"])

    def clean_hook(self) -> str | None:
        hook: str | None = self.cleaned_data["hook"]
        return self._known(hook) if hook else hook

    def _known(self, path: str) -> str:
        """A function that is there; of those without the permission, one that is registered."""
        # First: to look a path up is to import a module, and so to run code.
        if not self.any_function and path not in registered_tasks():
            raise ValidationError(gettext("%(path)s is not a registered task.") % {"path": path})
        try:
            allowed_functions(load_settings().signing.functions).load(path)
        except (UnknownFunction, FunctionNotAllowed) as error:
            raise ValidationError(str(error)) from error
        return path

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.instance.pk:
            for name in (CHANGED_BY_SCHEDULER & data.keys()).difference(self.changed_data):
                data[name] = getattr(self.instance, name)
        try:
            args, kwargs = args_from_text(self._written("args")), kwargs_from_text(self._written("kwargs"))
        except (ClusterError, ValueError):
            return data  # the row says it, beside the field
        self._check_options(kwargs.pop("q_options", None) or {}, data)
        if load_settings().signing.serializer == "json":
            self._check_json(args, kwargs)
        if data.get("func"):
            if data.get("intended_date_kwarg"):
                kwargs.setdefault(data["intended_date_kwarg"], "")
            if problem := misfit(data["func"], args, kwargs):
                self.add_error("args" if args or not kwargs else "kwargs", problem)
        return data

    def _check_json(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for field, values in (("args", (args, {})), ("kwargs", ((), kwargs))):
            try:
                check_json(*values)
            except NotSerializable as error:
                self.add_error(field, str(error))

    def _written(self, name: str) -> str | None:
        """Arguments as text: of the form, or of the row where the user may not see them."""
        found: str | None = self.cleaned_data.get(name) if name in self.fields else getattr(self.instance, name)
        return found

    def add_error(self, field: str | None, error: Any) -> None:
        """What is wrong with a field that the form does not show is said above it."""
        if hasattr(error, "error_dict"):
            for name, each in error.error_dict.items():
                self.add_error(name if name != NON_FIELD_ERRORS else None, each)
            return
        super().add_error(field if field in self.fields else None, error)

    def _check_options(self, given: Any, data: Mapping[str, Any]) -> None:
        try:
            task_options(Schedule(name=data.get("name"), pk=self.instance.pk), given)
        except (ClusterError, ValueError, TypeError) as error:
            self.add_error("kwargs", str(error))
            return
        if not self.any_function and (forbidden := sorted(set(given) - HARMLESS_OPTIONS)):
            text = gettext("You may not use these options here: %(names)s.") % {"names": ", ".join(forbidden)}
            self.add_error("kwargs", text)


def misfit(path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Why the function cannot be called so; empty if it can, or if it does not tell."""
    problem = call_problem(path, [len(args)], kwargs)
    if not problem:
        return ""
    signature = inspect.signature(load_function(path), follow_wrapped=False)
    return gettext("%(path)s%(signature)s cannot be called with these arguments: %(error)s.") % {
        "path": path,
        "signature": signature,
        "error": problem,
    }
