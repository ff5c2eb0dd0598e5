"""What the ``repr`` of a value shows, where some of its fields must not reach a log or an error service."""

from __future__ import annotations


def repr_of(value: tuple[object, ...], *names: str) -> str:
    """The ``repr`` of a ``NamedTuple`` with the fields of these names, and none that holds arguments or results."""
    return f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in names)})"
