"""What all pages have in common: their look, their database, and who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from django_cluster.conf import load_settings


def _model_admin() -> type[admin.ModelAdmin[Any]]:
    """Unfold draws only pages whose class descends from its own."""
    if apps.is_installed("unfold"):
        from unfold.admin import ModelAdmin as UnfoldModelAdmin

        return UnfoldModelAdmin  # type: ignore[no-any-return]  # it has no types
    return admin.ModelAdmin


def _select() -> type[forms.Select]:
    """As does a choice that we put into a form ourselves."""
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
"""Style sheets of every page; the second one is for pages that Django itself draws."""

ACT_AT_MOST = 1000
"""Rows for which one action does something; a request has to come to an end."""


def may(request: HttpRequest, permission: str) -> bool:
    """Whether the user has this permission of ours, such as ``resubmit_task``."""
    return request.user.has_perm(f"django_cluster.{permission}")


def rows_of(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """The rows in the database that ``Q_CLUSTER`` names, or where the router reads them."""
    return rows.using(load_settings().results.database)


class ClusterAdmin(ModelAdmin):
    """Brings its own style sheet, and asks for no count of a whole table."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    class Media:
        css = STYLES


class ReadOnlyAdmin(ClusterAdmin):
    """Rows that the cluster writes: to be looked at and deleted, never added or changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
