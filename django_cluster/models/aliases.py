"""Second names of columns: those that Django-Q gives them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from django.db import models

Value = TypeVar("Value")
Row = TypeVar("Row", bound=models.Model)


class Alias(Generic[Value]):
    """Another name of a field of the same model: it can be read, set, queried and updated by it.

    ``cluster: Alias[str | None] = Alias("queue")`` makes ``Task(cluster="mail")``, ``filter(cluster="mail")``,
    ``order_by("cluster")``, ``values("cluster")``, ``F("cluster")`` and ``update(cluster="mail")`` mean the column
    ``queue``. Fixtures may use it. Forms, serializers, migrations and ``SELECT`` know the field only.

    To Django it is a virtual field (one that is no column of its own) with the column of the other: ``generated`` keeps
    it out of what is written and validated, so that ``AliasQuerySet`` has to put the field in its place in updates.
    """

    def __init__(self, target: str) -> None:
        self.target = target

    def contribute_to_class(self, model: type[models.Model], name: str) -> None:
        field: Any = copy.copy(model._meta.get_field(self.target))
        field.__class__ = type(
            "Alias", (AliasField, type(field)), {"alias_of": self.target, "alias_column": field.column}
        )
        field.contribute_to_class(model, name)

    # For type checkers: at run time a property stands in its place.

    def __get__(self, row: models.Model, owner: type[models.Model]) -> Value:
        raise NotImplementedError

    def __set__(self, row: models.Model, value: Value) -> None:
        raise NotImplementedError


class AliasField:
    """What ``Alias`` adds to a copy of the field. Proxy models inherit it by ``contribute_to_class``."""

    alias_of: str
    """The name of the field."""
    alias_column: str
    name: str
    generated = True

    def get_attname_column(self) -> tuple[str, str]:
        return self.name, self.alias_column

    def contribute_to_class(self, model: type[models.Model], name: str, private_only: bool = True) -> None:
        self.name = name
        super().contribute_to_class(model, name, private_only=True)  # type: ignore[misc]  # it is mixed into a field
        self.concrete = self.editable = self.serialize = False
        setattr(model, name, _property_for(self.alias_of))


def _property_for(name: str) -> property:
    def read(row: models.Model) -> Any:
        return getattr(row, name)

    def write(row: models.Model, value: Any) -> None:
        setattr(row, name, value)

    return property(read, write)


class AliasQuerySet(models.QuerySet[Row]):
    """Rows that are updated by either name of a field."""

    def update(self, **values: Any) -> int:
        return super().update(**{field_name(self.model, name): value for name, value in values.items()})

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[Row], fields: Iterable[str], batch_size: int | None = None) -> int:
        return super().bulk_update(objs, [field_name(self.model, name) for name in fields], batch_size)

    bulk_update.alters_data = True  # type: ignore[attr-defined]


def field_name(model: type[models.Model], name: str) -> str:
    """The name of the field that ``name``, perhaps an alias, means."""
    if name == "pk":
        return name
    found: str = getattr(model._meta.get_field(name), "alias_of", name)
    return found
