"""When saving a schedule gives it a valid seal: a mixin of the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

from django_cluster.models.schedule_planning import SchedulePlanning
from django_cluster.models.schedule_seal import SEALED, is_sealed

_SEALED = frozenset({"seal", *SEALED})


class ScheduleSealing(SchedulePlanning):
    """Knows the sealed columns as they were read, so that a save vouches for nothing that it did not change."""

    _base_manager: Any
    pk: Any

    _sealed_as_read: Mapping[str, Any] | None = None
    """None: a new row, or one that was accepted."""

    def may_be_sealed(self) -> bool:
        """Whether saving seals the row: it was sealed when it was read, or is new, or was accepted
        (``accept``). A change to one column says nothing about the others."""
        read = self._sealed_as_read
        return read is None or (read.keys() >= _SEALED and is_sealed(SimpleNamespace(**read)))

    def accept(self) -> None:
        """Note that what the row calls was looked at: the next ``save`` gives it a valid seal."""
        self._sealed_as_read = None

    def _read_missing_sealed(self) -> None:
        """Read the sealed columns that ``only`` or ``defer`` has left out."""
        read, here = self._sealed_as_read, self.__dict__
        if read is None or not (lacking := _SEALED - read.keys()) or not _SEALED & here.keys():
            return
        stored = type(self)._base_manager.using(self._state.db).filter(pk=self.pk).values(*lacking).first()
        if stored is not None:
            self._sealed_as_read = {**read, **stored}
            here.update({name: value for name, value in stored.items() if name not in here})

    def _remember(self, fields: Collection[str] | None = None) -> None:
        super()._remember(fields)
        here, before = self.__dict__, self._sealed_as_read
        if fields is None:
            self._sealed_as_read = {name: here[name] for name in _SEALED & here.keys()}
        elif before is not None:
            self._sealed_as_read = {**before, **{name: here[name] for name in _SEALED & here.keys() & set(fields)}}
