"""Sealed values: read only by who has the key, and never unpickled before the signature was verified."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.signing import (
    DIGEST_SIZE,
    ValueSigner,
    derive_key,
    dump_json,
    dump_pickle,
    secret_bytes,
    secret_text,
    sign,
)
from django_cluster.errors import BadSignature, NotSerializable, PackageError, UnknownFormat, ValueTooLarge

SIGNER = ValueSigner("a secret")
JSON_SIGNER = ValueSigner("a secret", serializer="json")
HERE = b"a row"

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    plain | st.datetimes() | st.decimals(allow_nan=False) | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Toucher:
    """A pickle of this touches a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


class Stubborn:
    """Raises whatever is done with it."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not me")


@settings(deadline=None)
@given(values)
def test_any_picklable_value_comes_back(value: object) -> None:
    assert SIGNER.loads(SIGNER.dumps(value, HERE), HERE) == value


def test_none_is_no_bytes_at_all() -> None:
    assert SIGNER.dumps(None, HERE) is None
    assert SIGNER.loads(None, HERE) is None


def test_a_database_may_return_a_memoryview() -> None:
    sealed = SIGNER.dumps([1, 2], HERE)
    assert sealed is not None

    assert SIGNER.loads(memoryview(sealed), HERE) == [1, 2]


@settings(deadline=None)
@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_a_package_error(data: bytes) -> None:
    for seal in (SIGNER, JSON_SIGNER):
        for marker in (b"", b"P", b"J"):
            with suppress(PackageError):
                seal.loads(marker + data, HERE)


@settings(deadline=None)
@given(values.filter(lambda value: value is not None), st.data())
def test_a_changed_value_is_refused(value: object, data: st.DataObject) -> None:
    sealed = SIGNER.dumps(value, HERE)
    assert sealed is not None
    place = data.draw(st.integers(1, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(BadSignature):
        SIGNER.loads(bytes(changed), HERE)


def test_an_unsigned_pickle_is_never_read(tmp_path: Path) -> None:
    trap = pickle.dumps(Toucher(tmp_path / "touched"))
    forged = sign(derive_key("another secret", "django_cluster.value"), trap)

    for attempt in (trap, b"P" + trap, b"P" + forged + trap, b"P" + b"\0" * DIGEST_SIZE + trap, b"J" + trap):
        with pytest.raises(PackageError):
            SIGNER.loads(attempt, HERE)

    assert not (tmp_path / "touched").exists()


def test_a_value_of_an_older_secret_can_still_be_read() -> None:
    sealed = ValueSigner("the old secret").dumps("news", HERE)

    assert ValueSigner("the new secret", ["the old secret"]).loads(sealed, HERE) == "news"
    with pytest.raises(BadSignature):
        ValueSigner("the new secret").loads(sealed, HERE)


def test_an_older_secret_is_never_signed_with() -> None:
    sealed = ValueSigner("the new secret", ["the old secret"]).dumps("news", HERE)

    with pytest.raises(BadSignature):
        ValueSigner("the old secret").loads(sealed, HERE)


def test_a_class_that_is_gone_is_a_package_error() -> None:
    sealed = SIGNER.sign_data(b"P", b"cdjango_cluster.core.signing\nGone\n.", HERE)

    with pytest.raises(UnknownFormat, match="Gone"):
        SIGNER.loads(sealed, HERE)


@pytest.mark.parametrize("value", [lambda: None, Stubborn(), (n for n in "x")], ids=["lambda", "stubborn", "generator"])
def test_what_cannot_be_pickled_is_not_serializable(value: object) -> None:
    with pytest.raises(NotSerializable):
        dump_pickle(value)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def test_json_forbids_reading_pickles_even_if_signed_by_us() -> None:
    with pytest.raises(UnknownFormat, match="json"):
        JSON_SIGNER.loads(SIGNER.dumps({"a": 1}, HERE), HERE)


def test_a_json_value_is_read_under_either_serializer() -> None:
    sealed = JSON_SIGNER.dumps({"a": [1, None, "ü"]}, HERE)

    assert SIGNER.loads(sealed, HERE) == JSON_SIGNER.loads(sealed, HERE) == {"a": [1, None, "ü"]}


@settings(deadline=None)
@given(values)
def test_json_comes_back_equal_or_is_refused(value: object) -> None:
    try:
        sealed = JSON_SIGNER.dumps(value, HERE)
    except NotSerializable:
        return

    assert JSON_SIGNER.loads(sealed, HERE) == value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), [float("-inf")], object(), 1j, Stubborn()],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_give_back_is_refused(value: object) -> None:
    with pytest.raises(NotSerializable):
        dump_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(NotSerializable):
        dump_json(circle)


def test_a_salt_makes_another_key() -> None:
    assert derive_key("secret", "package:one") != derive_key("secret", "package:two")
    assert derive_key("one", "salt") != derive_key("two", "salt")


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_a_value_above_the_limit_is_not_sealed_and_both_sizes_are_said(serializer: str) -> None:
    seal = ValueSigner("a secret", serializer=serializer, max_size=1000)

    assert seal.loads(seal.dumps("x" * 900, HERE), HERE) == "x" * 900
    with pytest.raises(ValueTooLarge, match=r"The result has 50\d\d bytes, and max_result_size is 1000"):
        seal.dumps("x" * 5000, HERE)


def test_a_value_that_was_sealed_for_another_row_is_never_opened() -> None:
    sealed = SIGNER.dumps([1], HERE)

    for context in (b"another row", b"", b"a ro", b"a row!"):
        with pytest.raises(BadSignature):
            SIGNER.loads(sealed, context)


def test_no_part_of_a_context_can_become_data() -> None:
    sealed = SIGNER.sign_data(b"J", b"[1]", b"a row")

    with pytest.raises(PackageError):
        SIGNER.loads(sealed[:33] + b"row[1]", b"a ")


@pytest.mark.parametrize("key", ["text", b"text", "ü", b"\xff\x00", bytearray(b"text"), "half: \ud800"])
def test_any_key_can_be_used_and_is_one_key_as_text_and_as_its_bytes(key: Any) -> None:
    text = secret_text(key)
    sealed = ValueSigner(text).dumps("news", HERE)

    assert ValueSigner(secret_text(secret_bytes(text))).loads(sealed, HERE) == "news"
    if isinstance(key, bytes | bytearray):
        assert secret_bytes(text) == bytes(key)
