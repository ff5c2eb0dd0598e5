"""Array literals; what PostgreSQL makes of them is shown by the contract of the stores."""

from __future__ import annotations

import pytest

from django_cluster.core.postgres_arrays import array, packed_bytes_array


@pytest.mark.parametrize(
    ("kind", "values", "literal"),
    [
        ("text[]", [], "{}"),
        ("text[]", ["a", "b c"], '{"a","b c"}'),
        ("text[]", ["NULL", None, ""], '{"NULL",NULL,""}'),
        ("text[]", ['say "a"', "b"], r'{"say \"a\"","b"}'),
        ("text[]", ["\\", "b"], r'{"\\","b"}'),
        ("text[]", ['","'], r'{"\",\""}'),
        ("bytea[]", [b"\x00a", None, b""], r'{"\\x0061",NULL,"\\x"}'),
        ("bigint[]", [1, -2], "{1,-2}"),
        ("float8[]", [0.1, 1e300], "{0.1,1e+300}"),
        ("bool[]", [True, False], "{t,f}"),
    ],
)
def test_values_become_the_literal_of_an_array(kind: str, values: list[object], literal: str) -> None:
    assert array(kind, values) == literal


def test_packed_bytes_tell_their_lengths_and_which_are_missing() -> None:
    packed = packed_bytes_array([b"ab", None])

    assert packed.endswith(b"\x00\x00\x00\x02ab" + b"\xff\xff\xff\xff")
