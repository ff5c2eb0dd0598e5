"""The seal of a schedule: who can write to the table, and not to this project's code, cannot say what is run.

What a schedule calls (its function, hook, arguments and queue) is signed with the project's key when it is saved by
code of the project: by ``save``, ``bulk_create``, ``update``, ``bulk_update``, the admin, a migration or a fixture. A
row that was added or changed by SQL has no such seal, and is not fired. When it runs is not sealed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import models

from django_cluster.core.signing import derive_key, is_verified, sign
from django_cluster.errors import BadSignature
from django_cluster.models.row_signing import secrets

SEALED = ("func", "hook", "args", "kwargs", "intended_date_kwarg", "queue")
"""The columns that say what is run."""
SALT = "django_cluster.schedule"
UNSEALED = (
    "This schedule was added or changed in the database by other means than this project's code, or SECRET_KEY was"
    " changed without SECRET_KEY_FALLBACKS. Look at it, and save it in the admin, or name it to manage.py qseal."
)


def seal_of(row: Any) -> str:
    """The seal for what the row says now."""
    return sign(_keys(*secrets())[0], _content(row)).hex()


def is_sealed(row: Any, *, lately: bool = False) -> bool:
    """Whether the row's seal is for what it says. ``lately``: with the present key, and not with an older one."""
    keys = _keys(*secrets())
    try:
        signature = bytes.fromhex(row.seal)
    except (ValueError, TypeError):
        return False
    return is_verified(keys[:1] if lately else keys, _content(row), signature)


def ensure_sealed(row: Any) -> None:
    """Raises ``BadSignature``, with a sentence for people, unless the row was saved by code of the project."""
    if not is_sealed(row):
        raise BadSignature(UNSEALED)


def sealed_content(row: Any) -> tuple[str, ...]:
    """What is sealed; nothing and an empty text are the same."""
    return tuple("" if (value := getattr(row, name)) is None else str(value) for name in SEALED)


def _content(row: Any) -> bytes:
    """The lengths keep neighbours apart."""
    return "".join(f"{len(text)}:{text}" for text in sealed_content(row)).encode("utf-8", "backslashreplace")


def _is_sealed_in_the_database(row: models.Model) -> bool:
    """Whether a row of a migration's historical model may be sealed: one that is not in the database yet."""
    rows = type(row)._base_manager.using(row._state.db)
    stored = rows.filter(pk=row.pk).only("seal", *SEALED).first()
    return stored is None or is_sealed(stored)


@lru_cache(maxsize=4)
def _keys(key: str, fallbacks: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(derive_key(each, SALT) for each in (key, *fallbacks))


class ScheduleSealField(models.CharField):  # type: ignore[type-arg]  # Django's takes no parameters at run time
    """Holds the seal, and makes it when a row is saved, also by the models that migrations see.

    A row that had no valid seal when it was read gets none by being saved for another reason.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        may = getattr(model_instance, "may_be_sealed", None)
        if add or (_is_sealed_in_the_database(model_instance) if may is None else may()):
            setattr(model_instance, self.attname, seal_of(model_instance))
        value: str = getattr(model_instance, self.attname)
        return value
