"""The base classes of the admin's pages: their style sheets, their database and their permissions."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern
from django.utils.safestring import SafeString

from django_cluster.conf import load_settings
from django_cluster.core.redaction import redactor
from django_cluster.core.safe_text import printable_lines


def _model_admin() -> type[admin.ModelAdmin[Any]]:
    """The class of model pages: Unfold draws only descendants of its own."""
    if apps.is_installed("unfold"):
        from unfold.admin import ModelAdmin as UnfoldModelAdmin

        return UnfoldModelAdmin  # type: ignore[no-any-return]  # it has no types
    return admin.ModelAdmin


def _select() -> type[forms.Select]:
    """The widget of choices: Unfold has its own."""
    if apps.is_installed("unfold"):
        from unfold.widgets import UnfoldAdminSelectWidget

        return UnfoldAdminSelectWidget  # type: ignore[no-any-return]
    return forms.Select


Select = _select()

if TYPE_CHECKING:  # these are generic for type checkers only
    from django_cluster.models import Schedule

    ModelAdmin = admin.ModelAdmin[Any]
    AnyScheduleForm = forms.ModelForm[Schedule]
else:
    ModelAdmin = _model_admin()
    AnyScheduleForm = forms.ModelForm

STYLES = {"all": ("django_cluster/admin.css", *(() if apps.is_installed("unfold") else ("django_cluster/plain.css",)))}
"""Style sheets of every page; the second one is left out where Unfold draws the page."""

MAX_ROWS_PER_ACTION = 1000
"""Rows on which one action of one request acts."""


def may(request: HttpRequest, permission: str) -> bool:
    """Whether the user has this permission of django_cluster, such as ``retry_task``."""
    return request.user.has_perm(f"django_cluster.{permission}")


def in_database(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """The rows in the database that ``Q_CLUSTER`` names, or else where the router reads them."""
    return rows.using(load_settings().results.database)


VIEW_ARGUMENTS = "view_task_arguments"
"""The permission to see what functions are called with, and what they return."""
COLUMNS_WITH_ARGUMENTS = frozenset(
    {"args", "kwargs", "payload", "sealed_arguments", "sealed_result", "options", "last_error"}
    | {"error_message", "error_traceback", "attempts", "seal", "post_mortem_data"}
    | {"arguments", "errors", "metadata", "return_value"}
)
"""Columns that hold, quote or sign arguments: a filter on one of them, in the URL of a list, would reveal them."""


class ClusterAdmin(ModelAdmin):
    """A page with the package's style sheet, and without a count of the whole table.

    No page shows a character that moves, reverses or hides others, wherever a name or an error comes from.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    class Media:
        css = STYLES

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass that says which fields it shows says it instead of its base, in either form."""
        super().__init_subclass__(**kwargs)
        for said, other in (("fields", "fieldsets"), ("fieldsets", "fields")):
            if cls.__dict__.get(said) is not None and other not in cls.__dict__:
                setattr(cls, other, None)

    def own_urls(self) -> list[URLPattern]:
        """Return the URLs of pages in addition to Django's."""
        return []

    def get_urls(self) -> list[URLPattern]:
        return [_readable(pattern) for pattern in (*self.own_urls(), *super().get_urls())]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row, with ``arguments_visible`` set for this user."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.arguments_visible = may(request, VIEW_ARGUMENTS)
        return row

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse lookups such as ``?kwargs__contains=`` of a user who may not see arguments."""
        if lookup.partition("__")[0] in COLUMNS_WITH_ARGUMENTS and not may(request, VIEW_ARGUMENTS):
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """Show a message with credentials masked: errors may quote an argument."""
        said = message if isinstance(message, SafeString) else redactor().text(str(message))
        super().message_user(request, said, *args, **kwargs)


def _readable(pattern: URLPattern) -> URLPattern:
    """Wrap a page so that characters which could deceive its reader are written as escapes."""
    view = pattern.callback

    @wraps(view)
    def readable(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        if isinstance(response, SimpleTemplateResponse) and not _is_edited(response):
            response.add_post_render_callback(_written_out)
        return response

    pattern.callback = readable
    return pattern


def _is_edited(response: SimpleTemplateResponse) -> bool:
    """Whether the page is a form: what it shows would be saved."""
    context = response.context_data or {}
    return "adminform" in context and bool(context.get("add") or context.get("has_change_permission"))


def _written_out(response: HttpResponse) -> None:
    text = response.content.decode(response.charset)
    if (cleaned := printable_lines(text)) != text:
        response.content = cleaned.encode(response.charset)


class ReadOnlyAdmin(ClusterAdmin):
    """Rows that the cluster writes: they can be viewed and deleted, never added or changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
