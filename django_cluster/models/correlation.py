"""The column of the correlation id, which is empty where it would repeat the id of the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

if TYPE_CHECKING:
    TextField = models.CharField[str | None, str]  # generic for type checkers only
else:
    TextField = models.CharField


class OwnIdIfEmpty(DeferredAttribute):
    """Reads the primary key of a row whose column is empty. That most rows are empty keeps the index small."""

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        found = super().__get__(instance, cls)
        return instance.pk if found is None else found

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class CorrelationField(TextField):
    """A text that is read as the primary key of its row where it is empty. Queries see the column as it is."""

    descriptor_class = OwnIdIfEmpty

    def deconstruct(self) -> Any:
        """Migrations keep the column, which is a plain text."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return model_instance.__dict__.get(self.attname)
