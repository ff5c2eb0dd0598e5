"""Columns of whole numbers that refuse fractions, which Django's own cut off: ``minutes=1.5`` would be every minute."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


def require_whole(name: str, value: Any) -> Any:
    """The value; a number that is written as a fraction, such as 2.0, as an integer.

    Raises ``ValueError`` for other fractions, NaN, infinity, True and False. What is no number is left to Django.
    """
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{name} is a whole number, not {value!r}.")
    if isinstance(value, float):
        return int(value)
    if hasattr(value, "as_integer_ratio") and not isinstance(value, int):  # Decimal, Fraction
        try:
            numerator, denominator = value.as_integer_ratio()
        except (ValueError, OverflowError):  # NaN, infinity
            numerator, denominator = 0, 0
        if denominator != 1:
            raise ValueError(f"{name} is a whole number, not {value!r}.")
        return numerator
    return value


class WholeNumberMixin(models.Field):  # type: ignore[type-arg]  # Django's takes no parameters at run time
    """A field that is migrated as the Django field from which its class inherits."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(require_whole(self.name, value))
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(require_whole(self.name, value))

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, f"django.db.models.{self.get_internal_type()}", args, kwargs


class WholeNumberField(WholeNumberMixin, models.IntegerField):  # type: ignore[type-arg]
    """An ``IntegerField`` that refuses fractions."""


class PositiveWholeNumberField(WholeNumberMixin, models.PositiveIntegerField):  # type: ignore[type-arg]
    """A ``PositiveIntegerField`` that refuses fractions."""
