"""A text field that suggests values and takes any other. It needs no script, so every content policy allows it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


class InputWithSuggestions(forms.TextInput):
    """A text field that looks as ``widget`` does, and suggests ``values``."""

    def __init__(self, widget: forms.Widget, values: Collection[str]) -> None:
        super().__init__(widget.attrs)
        self.template_name = getattr(widget, "template_name", self.template_name)
        self._values = values

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        """The field, and the list that it names."""
        list_id = f"{(attrs or {}).get('id', name)}_values"
        field = super().render(name, value, {**(attrs or {}), "list": list_id}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((each,) for each in self._values))
        return format_html('{}<datalist id="{}">{}</datalist>', field, list_id, options)
