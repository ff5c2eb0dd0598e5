"""Journals that several processes write and one reads."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from django_cluster.testing.chaos.journal import JournalReader, append_line, read_all


def write_many(path: Path, name: str) -> None:
    for number in range(500):
        append_line(path, name, number)


def test_lines_come_back_as_their_words(tmp_path: Path) -> None:
    append_line(tmp_path / "journal", "started", 12, 0.5)
    append_line(tmp_path / "journal", "ended", 12, 1.5)

    assert read_all(tmp_path / "journal") == [["started", "12", "0.5"], ["ended", "12", "1.5"]]


def test_a_journal_that_nobody_has_begun_is_empty(tmp_path: Path) -> None:
    assert read_all(tmp_path / "journal") == []


def test_a_reader_tells_only_what_is_new(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "journal")
    append_line(tmp_path / "journal", "first")

    assert reader.read_new() == [["first"]]
    append_line(tmp_path / "journal", "second")
    assert reader.read_new() == [["second"]]
    assert reader.read_new() == []


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "journal")
    (tmp_path / "journal").write_text("one\ntw")

    assert reader.read_new() == [["one"]]
    (tmp_path / "journal").write_text("one\ntwo\n")
    assert reader.read_new() == [["two"]]


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path / "journal", name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    lines = read_all(tmp_path / "journal")
    for name in ("a", "b"):
        assert [words[1] for words in lines if words[0] == name] == [str(number) for number in range(500)]
