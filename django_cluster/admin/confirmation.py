"""The page that asks for confirmation before an action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import BaseModelAdmin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext

CONFIRMED_FIELD = "confirmed"
"""The field that a confirmed form brings along."""
MAX_LISTED = 20
"""So many of the things concerned are named."""


def is_confirmed(request: HttpRequest) -> bool:
    return request.method == "POST" and request.POST.get(CONFIRMED_FIELD) == "yes"


def confirmation_page(
    request: HttpRequest,
    admin: BaseModelAdmin[Any],
    *,
    question: str,
    concerned: Sequence[object],
    button: str,
    warning: str = "",
    dangerous: bool = True,
    carried: Sequence[str] = ("action", "select_across", "index"),
) -> TemplateResponse:
    """Return a page with the question. Its form sends the fields ``carried`` again, with the confirmation."""
    fields = [(name, value) for name in carried for value in request.POST.getlist(name)[:1]]
    fields += [(ACTION_CHECKBOX_NAME, value) for value in request.POST.getlist(ACTION_CHECKBOX_NAME)]
    context = {
        **admin.admin_site.each_context(request),
        "title": gettext("Are you sure?"),
        "question": question,
        "warning": warning,
        "opts": admin.opts,
        "concerned": [str(each) for each in concerned[:MAX_LISTED]],
        "more": max(0, len(concerned) - MAX_LISTED),
        "fields": [*fields, (CONFIRMED_FIELD, "yes")],
        "button": button,
        "dangerous": dangerous,
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/django_cluster/confirm.html", context)
