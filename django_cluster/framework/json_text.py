"""Values as the framework carries them: JSON, and nothing that only some databases or serializers keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.framework.compat import normalize_json


def as_json(value: Any, what: str) -> Any:
    """The value as it is after a round trip through JSON: tuples are lists, keys are texts.

    Raises ``TypeError`` for a type that JSON does not know and ``ValueError`` for NaN, infinity and bytes that are no
    text; ``what`` says in the message which value it is.
    """
    try:
        return json.loads(json.dumps(normalize_json(value), allow_nan=False))
    except TypeError as error:
        raise TypeError(f"{what} cannot be written as JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from error


def arguments_as_json(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call as JSON; an error names the argument. Raises as ``as_json``."""
    return (
        [as_json(value, f"Argument {number}") for number, value in enumerate(args, 1)],
        {name: as_json(value, f"Argument {name!r}") for name, value in kwargs.items()},
    )
