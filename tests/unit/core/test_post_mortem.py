"""A post-mortem is kept as compressed JSON, and the revision of the project is read from git's files."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from django_cluster.core.post_mortem import FrameVariables, PostMortem
from django_cluster.core.revision import find_revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_what_is_packed_is_read_back() -> None:
    frame = FrameVariables(path="/a.py", line=3, function="f", variables=(("x", "1"), ("é", "'\x00'")))
    found = PostMortem(
        frames=(frame,), log_lines=("one", "two"), queries=0, cpu_seconds=0.5, exit_code=-9, versions={"python": "3"}
    )

    assert PostMortem.unpacked(found.packed()) == found
    assert PostMortem.unpacked(PostMortem().packed()) == PostMortem()


@pytest.mark.parametrize(
    "damaged", [b"", b"no zlib", zlib.compress(b"[]"), zlib.compress(b'{"frames": [1]}'), zlib.compress(b"{")]
)
def test_what_is_damaged_is_a_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="no post-mortem"):
        PostMortem.unpacked(damaged)


def test_the_revision_is_that_of_the_repository_around_the_folder(tmp_path: Path) -> None:
    git, inside = tmp_path / ".git", tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")

    assert find_revision(inside) == COMMIT[:12]
    (git / "HEAD").write_text(f"{'f' * 40}\n")
    assert find_revision(inside) == "f" * 12


def test_the_revision_of_a_worktree_is_its_own(tmp_path: Path) -> None:
    main, tree = tmp_path / "main.git", tmp_path / "tree"
    (main / "worktrees" / "tree").mkdir(parents=True)
    (main / "refs" / "heads").mkdir(parents=True)
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {main}/worktrees/tree\n")
    (main / "worktrees" / "tree" / "HEAD").write_text("ref: refs/heads/topic\n")
    (main / "worktrees" / "tree" / "commondir").write_text("../..\n")
    (main / "refs" / "heads" / "topic").write_text(f"{COMMIT}\n")

    assert find_revision(tree) == COMMIT[:12]


def test_without_a_readable_repository_there_is_no_revision(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")

    assert find_revision(tmp_path) == ""
