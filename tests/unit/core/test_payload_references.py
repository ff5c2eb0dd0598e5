"""Tickets are believed only with our signature, and name their task."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.codec import Codec, header_of
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.settings import SigningSettings
from django_cluster.errors import BadSignature, PackageError, PayloadMissing, UnknownFormat

SIGNING = SigningSettings(secret="ours", salt="shop")
ID = "0123456789abcdef" * 2
HEADER = TaskHeader(id="7", name="big", func="f", enqueued_at=5.0, options=TaskOptions(schedule=3, chain=("x" * 9000,)))


def reference(codec: Codec, header: TaskHeader = HEADER) -> str:
    return codec.reference(ID, codec.dumps(TaskPackage(header=header, args=("x" * 5000,))))


def test_a_reference_is_small_and_names_the_row_and_the_task() -> None:
    codec = Codec(SIGNING)
    text = reference(codec)

    read = codec.read_reference(text)

    assert len(text) < 300
    assert text.isascii()
    assert read is not None
    assert read.id == ID
    with pytest.raises(PayloadMissing) as caught:
        codec.verify(text)
    assert caught.value.body is not None
    assert header_of(caught.value.body) == replace(HEADER, options=TaskOptions(schedule=3))


def test_options_that_are_too_many_for_a_reference_are_left_out() -> None:
    codec = Codec(SIGNING)
    text = reference(codec, replace(HEADER, options=TaskOptions(hook="h" * 3000)))

    with pytest.raises(PayloadMissing) as caught:
        codec.verify(text)

    assert len(text) < 300
    assert caught.value.body is not None
    assert header_of(caught.value.body).id == "7"


def test_a_foreign_package_gives_a_reference_no_name() -> None:
    codec = Codec(SIGNING)
    foreign = Codec(replace(SIGNING, secret="theirs")).dumps(TaskPackage(header=HEADER))

    with pytest.raises(PayloadMissing) as caught:
        codec.verify(codec.reference(ID, foreign))

    assert caught.value.body is None


def test_an_older_secret_is_believed_and_another_site_is_not() -> None:
    text = reference(Codec(SIGNING))

    assert Codec(replace(SIGNING, secret="new", fallbacks=("ours",))).read_reference(text) is not None
    assert Codec(replace(SIGNING, salt="another")).read_reference(text) is None
    with pytest.raises(BadSignature):
        Codec(replace(SIGNING, secret="theirs")).verify(text)


@pytest.mark.parametrize("place", [5, 20, 40, -5])
def test_a_changed_reference_is_a_foreign_message(place: int) -> None:
    codec = Codec(SIGNING)
    text = reference(codec)
    changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]

    assert codec.read_reference(changed) is None
    with pytest.raises(BadSignature):
        codec.verify(changed)


@given(st.text())
def test_whatever_follows_the_mark_nothing_but_a_package_error_comes_out(rest: str) -> None:
    codec = Codec(SIGNING)

    assert codec.read_reference(f"dct1:{rest}") is None
    with pytest.raises(PackageError):
        codec.verify(f"dct1:{rest}")


def test_a_reference_of_a_later_version_is_an_unknown_format() -> None:
    with pytest.raises(UnknownFormat):
        Codec(SIGNING).verify(f"dct2:{ID}::x")
