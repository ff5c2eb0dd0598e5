"""What ``serializer = "json"`` carries of Django's own values: model instances by reference, and lazy texts.

An instance travels as its model, its primary key and its database, and is fetched again when the task runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.utils.functional import Promise

from django_cluster.core.json_values import Encoder, JsonType, Reference, register
from django_cluster.errors import InstanceMissing, NotSerializable, UnknownFormat


@dataclass(frozen=True, slots=True)
class ModelReference(Reference):
    """A row of a model."""

    model: str
    """``app_label.ModelName``."""
    pk: Any
    using: str
    """Alias of its database."""

    def resolve(self) -> models.Model:
        """The instance as it is in the database now. Raises ``InstanceMissing``, and ``UnknownFormat`` for no model."""
        try:
            kind = apps.get_model(self.model)
        except (LookupError, ValueError) as error:
            raise UnknownFormat(f"The JSON refers to the model {self.model}, which is not installed.") from error
        found: models.Model | None = kind._base_manager.using(self.using).filter(pk=self.pk).first()
        if found is None:
            raise InstanceMissing(
                f"{self.model} with the primary key {self.pk!r} is gone from database {self.using!r}."
            )
        return found


def _encode_instance(value: models.Model, encoder: Encoder, place: str) -> dict[str, Any]:
    if value.pk is None or value._state.adding:
        raise NotSerializable(f"{place or 'it'} is an instance of {value._meta.label} that is not saved.")
    return _parts(ModelReference(value._meta.label, value.pk, value._state.db or "default"), encoder, place)


def _parts(value: ModelReference, encoder: Encoder, place: str) -> dict[str, Any]:
    return {"model": value.model, "pk": encoder.encode(value.pk, f"{place}.pk"), "using": value.using}


def _decode_instance(found: Mapping[str, Any]) -> ModelReference:
    return ModelReference(found["model"], found["pk"], found["using"])


def register_django_types() -> None:
    """Have model instances and lazy texts written and read as JSON. Called when the app is ready."""
    register(JsonType("model", lambda value: isinstance(value, models.Model), _encode_instance, _decode_instance))
    register(JsonType("reference", lambda value: isinstance(value, ModelReference), _parts, _decode_instance))
    register(
        JsonType(
            "lazy text",
            lambda value: isinstance(value, Promise),
            lambda value, _encoder, _place: {"value": str(value)},
            lambda found: str(found["value"]),
        )
    )
