"""Packages ↔ signed text: whatever comes in, only ``PackageError`` comes out, and nothing runs unverified."""

from __future__ import annotations

import base64
import json
import pickle
import random
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_cluster.core.codec import HEADER_VERSION, Codec, header_of, peek_header, salt_of
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.sealed_rows import arguments_context, open_arguments
from django_cluster.core.settings import SigningSettings
from django_cluster.core.signing import ValueSigner, derive_key, sign
from django_cluster.errors import BadSignature, NotSerializable, PackageError, UnknownFormat, ValueTooLarge

SIGNING = SigningSettings(secret="a secret", salt="tests")
CODEC = Codec(SIGNING)
SQUEEZING = Codec(replace(SIGNING, compress=True, compress_threshold=0))
JSON = Codec(replace(SIGNING, serializer="json"))

texts = st.text(max_size=20)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    plain | st.datetimes() | st.decimals(allow_nan=False) | st.uuids() | st.sets(st.integers()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
headers = st.builds(
    TaskHeader,
    id=texts,
    name=texts,
    func=texts,
    enqueued_at=st.floats(min_value=0, max_value=1e11),
    options=st.builds(TaskOptions, group=st.none() | texts, priority=st.integers(-100, 100)),
)
packages = st.builds(
    TaskPackage,
    header=headers,
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(), values, max_size=3),
)


def package(*args: Any, **kwargs: Any) -> TaskPackage:
    header = TaskHeader(id="0123456789abcdef" * 2, name="a name", func="app.tasks.add", enqueued_at=1_700_000_000.5)
    return TaskPackage(header=header, args=args, kwargs=kwargs)


def signed(body: bytes, flags: str = "p", *, secret: str = "a secret", salt: str = "tests") -> str:
    """What a careless or a malicious program with some key would send, byte by byte."""
    text = b"dc1" + flags.encode() + b":" + base64.b64encode(body)
    signature = base64.b64encode(sign(derive_key(secret, salt_of(salt, salt)), text))
    return (text + b":" + signature).decode()


def labelled(**changes: Any) -> str:
    """A package signed with our key, with another header."""
    header = {"v": HEADER_VERSION, "id": "x", "name": "n", "func": "f.g", "at": 1.0} | changes
    return signed(json.dumps(header).encode() + b"\n")


def raises_only_package_errors(read: Callable[[], object]) -> None:
    with suppress(PackageError):
        read()


class Trap:
    """A pickle of this touches a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


# ── round trip ───────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(packages, st.sampled_from([CODEC, SQUEEZING]))
def test_a_package_comes_back_as_it_was(sent: TaskPackage, codec: Codec) -> None:
    assert codec.loads(codec.dumps(sent)) == sent


@settings(deadline=None)
@given(packages)
def test_json_comes_back_as_it_was_or_is_refused(sent: TaskPackage) -> None:
    try:
        text = JSON.dumps(sent)
    except NotSerializable:
        return

    assert JSON.loads(text) == sent


@settings(deadline=None)
@given(packages)
def test_a_signed_text_is_ascii(sent: TaskPackage) -> None:
    assert CODEC.dumps(sent).isascii()


def test_arguments_that_cannot_be_carried_are_refused_at_the_door() -> None:
    with pytest.raises(NotSerializable):
        CODEC.dumps(package(lambda: None))
    with pytest.raises(NotSerializable):
        JSON.dumps(package({1, 2, 3j}))


def test_the_arguments_of_a_row_are_sealed_without_being_opened() -> None:
    body = CODEC.verify(CODEC.dumps(package(1, x=2)))
    header, arguments = CODEC.split(body)

    sealed = CODEC.seal_arguments(body, header, arguments)

    context = arguments_context(header.id, header.func, {}, hook=None, success=False)
    assert open_arguments(ValueSigner("a secret"), sealed, context) == ((1,), {"x": 2}, "tests")


def test_json_arguments_are_sealed_as_json() -> None:
    body = JSON.verify(JSON.dumps(package(1, x=2)))
    header, arguments = JSON.split(body)

    sealed = JSON.seal_arguments(body, header, arguments)

    context = arguments_context(header.id, header.func, {}, hook=None, success=False)
    assert JSON.open(body, header, arguments) == package(1, x=2)
    assert open_arguments(ValueSigner("a secret", serializer="json"), sealed, context) == ((1,), {"x": 2}, "tests")


def test_a_call_without_arguments_is_sealed_too() -> None:
    body = CODEC.verify(CODEC.dumps(package()))
    header, arguments = CODEC.split(body)

    sealed = CODEC.seal_arguments(body, header, arguments)

    context = arguments_context(header.id, header.func, {}, hook=None, success=False)
    assert CODEC.open(body, header, arguments) == package()
    assert open_arguments(ValueSigner("a secret", serializer="json"), sealed, context) == ((), {}, "tests")


# ── compression ──────────────────────────────────────────────────────────────────────────────────


def test_only_bodies_above_the_threshold_are_compressed() -> None:
    codec = Codec(replace(SIGNING, compress=True, compress_threshold=1000))

    small, large = codec.dumps(package("x" * 10)), codec.dumps(package("x" * 5000))

    assert small.startswith("dc1p:")
    assert large.startswith("dc1pz:")
    assert len(large) < 1000
    assert codec.loads(large) == package("x" * 5000)


def test_nothing_is_compressed_unless_asked_for() -> None:
    assert CODEC.dumps(package("x" * 100_000)).startswith("dc1p:")


def test_any_codec_reads_what_another_has_compressed() -> None:
    assert CODEC.loads(SQUEEZING.dumps(package("x" * 5000))) == package("x" * 5000)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "other", [replace(SIGNING, secret="another secret"), replace(SIGNING, salt="another cluster")], ids=["key", "name"]
)
def test_another_secret_or_cluster_name_is_a_bad_signature(other: SigningSettings) -> None:
    text = Codec(other).dumps(package(1))

    with pytest.raises(BadSignature):
        CODEC.verify(text)


def test_a_package_of_an_older_secret_can_still_be_read() -> None:
    rotated = Codec(replace(SIGNING, secret="the new one", fallbacks=("a secret",)))

    assert rotated.loads(CODEC.dumps(package(1))) == package(1)


def test_an_older_secret_is_never_signed_with() -> None:
    rotated = Codec(replace(SIGNING, secret="the new one", fallbacks=("a secret",)))

    with pytest.raises(BadSignature):
        CODEC.verify(rotated.dumps(package(1)))


def test_a_key_for_rows_does_not_sign_packages() -> None:
    rows = derive_key("a secret", "django_cluster.value")
    text = b"dc1p:" + base64.b64encode(b"{}\n")
    forged = (text + b":" + base64.b64encode(sign(rows, text))).decode()

    with pytest.raises(BadSignature):
        CODEC.verify(forged)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def test_header_names_of_a_later_version_are_ignored() -> None:
    header = CODEC.loads(labelled(colour="green", options={"group": "letters", "tenant": 5})).header

    assert header.options == TaskOptions(group="letters")


@pytest.mark.parametrize("version", [0, 2, 99, "1", None])
def test_an_unknown_header_version_is_an_unknown_format(version: object) -> None:
    with pytest.raises(UnknownFormat, match="version"):
        CODEC.loads(labelled(v=version))


@pytest.mark.parametrize("flags", ["", "q", "pzz", "2p", "zp", "P"])
def test_unknown_flags_are_an_unknown_format(flags: str) -> None:
    with pytest.raises(UnknownFormat):
        CODEC.verify(signed(b"{}\n", flags))


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"name": None},
        {"func": ["a"]},
        {"at": "soon"},
        {"at": []},
        {"options": 5},
        {"options": [1]},
        {"options": {"timeout": "soon"}},
        {"options": {"max_attempts": [3]}},
        {"options": {"priority": {}}},
    ],
    ids=str,
)
def test_a_header_with_values_of_other_types_is_an_unknown_format(change: dict[str, Any]) -> None:
    with pytest.raises(UnknownFormat):
        CODEC.loads(labelled(**change))


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"{}", b"{}\n", b"[]\n", b"5\n", b'"v"\n', b"null\n", b"\xff\n"], ids=repr
)
def test_a_signed_body_without_a_header_is_an_unknown_format(body: bytes) -> None:
    with pytest.raises(UnknownFormat):
        CODEC.loads(signed(body))


@pytest.mark.parametrize("arguments", [b"junk", pickle.dumps(5), pickle.dumps([1]), pickle.dumps((1, 2, 3))], ids=repr)
def test_signed_arguments_of_another_shape_are_an_unknown_format(arguments: bytes) -> None:
    header = CODEC.verify(labelled()).removeprefix(b"p")

    with pytest.raises(UnknownFormat):
        CODEC.loads(signed(header + arguments))


# ── the label ────────────────────────────────────────────────────────────────────────────────────


def test_the_label_is_read_without_opening_the_arguments(tmp_path: Path) -> None:
    text = CODEC.dumps(package(Trap(tmp_path / "touched")))

    header = peek_header(text)
    labelled_as, _ = CODEC.split(CODEC.verify(text))
    of_body = header_of(CODEC.verify(text))

    assert header == labelled_as == of_body == package().header
    assert not (tmp_path / "touched").exists()


def test_anybody_may_read_the_label_of_a_foreign_package() -> None:
    text = Codec(replace(SIGNING, secret="another", compress=True, compress_threshold=0)).dumps(package(1))

    assert peek_header(text) == package().header


def test_a_bomb_is_not_unpacked_to_look_at_its_label() -> None:
    bomb = zlib.compress(b"{" + b" " * (64 << 20))
    text = f"dc1pz:{base64.b64encode(bomb).decode()}:{base64.b64encode(b'x' * 32).decode()}"

    with pytest.raises(UnknownFormat):
        peek_header(text)


# ── hostile texts ────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(st.text() | st.text(alphabet="dc1pjz:=AZaz09+/", max_size=60))
@example("dc1p::")
@example("dc1pz:AAAA:AAAA")
@example("dc1p:é:é")
@example("\ud800:\ud800:\ud800")
def test_arbitrary_text_raises_nothing_but_a_package_error(text: str) -> None:
    for codec in (CODEC, JSON):
        with pytest.raises(PackageError):
            codec.verify(text)
        with pytest.raises(PackageError):
            codec.loads(text)
    raises_only_package_errors(lambda: peek_header(text))


@settings(deadline=None)
@given(packages, st.sampled_from([CODEC, SQUEEZING]), st.data())
def test_a_changed_text_is_refused(sent: TaskPackage, codec: Codec, data: st.DataObject) -> None:
    text = codec.dumps(sent)
    # The last two characters of a signature hold bits that belong to no byte: a change there may change nothing.
    place = data.draw(st.integers(0, len(text) - 3))
    changed = text[:place] + data.draw(st.characters().filter(lambda c: c != text[place])) + text[place + 1 :]

    with pytest.raises(PackageError):
        codec.verify(changed)
    raises_only_package_errors(lambda: peek_header(changed))


@settings(deadline=None)
@given(packages, st.data())
def test_a_text_cut_short_is_refused(sent: TaskPackage, data: st.DataObject) -> None:
    text = CODEC.dumps(sent)
    length = data.draw(st.integers(0, len(text) - 3))

    with pytest.raises(PackageError):
        CODEC.verify(text[:length])
    raises_only_package_errors(lambda: peek_header(text[:length]))


@settings(deadline=None)
@given(st.binary(), st.sampled_from(["p", "j", "pz", "jz"]))
def test_arbitrary_bytes_under_our_own_signature_raise_nothing_but_a_package_error(body: bytes, flags: str) -> None:
    raises_only_package_errors(lambda: CODEC.loads(signed(body, flags)))


@settings(deadline=None)
@given(st.recursive(st.none() | st.floats() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
def test_any_json_for_a_header_raises_nothing_but_a_package_error(header: object) -> None:
    text = signed(json.dumps(header).encode() + b"\n")

    raises_only_package_errors(lambda: CODEC.loads(text))
    raises_only_package_errors(lambda: peek_header(text))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_pickle_without_our_signature_never_runs(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    touched = tmp_path_factory.getbasetemp() / f"touched-{seed}"
    chance = random.Random(seed)
    header = CODEC.verify(labelled()).removeprefix(b"p")
    body = header + pickle.dumps(((Trap(touched),), {}))
    secret, salt = chance.choice([("wrong", "tests"), ("a secret", "other"), ("", "tests"), ("wrong", "other")])
    texts = [
        signed(body, chance.choice(["p", "j"]), secret=secret, salt=salt),
        signed(zlib.compress(body), "pz", secret=secret, salt=salt),
        base64.b64encode(body).decode(),
        f"dc1p:{base64.b64encode(body).decode()}:",
        f"dc1p:{base64.b64encode(body).decode()}:{base64.b64encode(chance.randbytes(32)).decode()}",
    ]

    for text in texts:
        with pytest.raises(PackageError):
            CODEC.loads(text)
        raises_only_package_errors(lambda text=text: peek_header(text))  # type: ignore[misc]

    assert not touched.exists()


def test_the_trap_of_these_tests_does_snap_when_it_is_opened(tmp_path: Path) -> None:
    CODEC.loads(CODEC.dumps(package(Trap(tmp_path / "touched"))))

    assert (tmp_path / "touched").exists()


def test_json_refuses_a_pickle_even_under_our_own_signature(tmp_path: Path) -> None:
    text = CODEC.dumps(package(Trap(tmp_path / "touched")))

    with pytest.raises(UnknownFormat, match="json"):
        JSON.loads(text)

    assert not (tmp_path / "touched").exists()


def test_an_old_style_signed_pickle_is_an_unknown_format() -> None:
    with pytest.raises(UnknownFormat):
        CODEC.verify("gASVEAAAAAAAAACMBW1vb24=:1tXyZQ:8m1lF5dQ")


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────

SMALL = replace(SIGNING, max_payload_size=10_000, compress=True, compress_threshold=0)
MEBIBYTE = 1 << 20


def bomb(size: int, flags: str = "pz") -> str:
    """Signed with our key: a few kilobytes that unpack to ``size`` bytes of arguments."""
    squeezer = zlib.compressobj(9)
    label = b'{"v":1,"id":"x","name":"a bomb","func":"f.g","at":1.0}\n'
    parts = [squeezer.compress(label)] + [squeezer.compress(bytes(MEBIBYTE)) for _ in range(size // MEBIBYTE)]
    return signed(b"".join([*parts, squeezer.flush()]), flags)


def test_what_is_larger_than_allowed_is_refused_at_the_call_and_both_sizes_are_said() -> None:
    codec = Codec(SMALL)

    with pytest.raises(ValueTooLarge, match=r"has 200\d\d\d bytes .* max_payload_size is 10000"):
        codec.dumps(package(b"0" * 200_000))

    assert codec.loads(codec.dumps(package(b"0" * 9000))).args == (b"0" * 9000,)


@pytest.mark.parametrize("flags", ["pz", "jz"])
def test_what_unpacks_to_gigabytes_takes_no_memory_where_it_is_verified_and_little_where_it_is_opened(
    flags: str,
) -> None:
    codec, text = Codec(replace(SIGNING, max_payload_size=4 * MEBIBYTE)), bomb(64 * MEBIBYTE, flags)
    tracemalloc.start()
    try:
        body = codec.verify(text)
        name = header_of(body).name
        verifying = tracemalloc.get_traced_memory()[1]
        with pytest.raises(UnknownFormat, match=r"has \d+ bytes and more than 4194304 when it is decompressed"):
            codec.split(body)
        opening = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (name, peek_header(text).name) == ("a bomb", "a bomb")
    assert codec.sign(body) == text
    assert verifying < 3 * MEBIBYTE
    assert opening < 15 * MEBIBYTE


def test_a_compressed_package_stays_compressed_until_it_is_opened() -> None:
    sent = package("x" * 100_000, key=[1])
    text = SQUEEZING.dumps(sent)
    body = SQUEEZING.verify(text)

    assert len(body) < 2000
    assert SQUEEZING.sign(body) == text
    assert CODEC.sign(body) == text
    assert SQUEEZING.open(body, *SQUEEZING.split(body)) == sent
    relabelled, header = CODEC.replace_header(text, lambda header: replace(header, name="another"))
    assert CODEC.loads(relabelled).args == sent.args
    assert header.name == header_of(CODEC.verify(relabelled)).name == "another"


def test_a_compressed_header_without_an_end_is_looked_at_no_further_than_allowed() -> None:
    squeezer = zlib.compressobj(9)
    data = b"".join([squeezer.compress(b"[" * MEBIBYTE) for _ in range(50)] + [squeezer.flush()])

    with pytest.raises(UnknownFormat, match="more than 1048576 bytes"):
        peek_header(signed(data, "pz"))
