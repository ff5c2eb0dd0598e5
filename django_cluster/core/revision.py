"""The git revision of the project, read from the files of its repository: no program is started."""

from __future__ import annotations

import re
from pathlib import Path

LENGTH = 12
MAX_FILE = 1 << 20
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def find_revision(folder: Path) -> str:
    """The first 12 digits of the commit that is checked out in this folder or above it; empty if there is none."""
    try:
        for place in (folder, *folder.parents):
            if (git := place / ".git").exists():
                return _head(_git_dir(git))[:LENGTH]
    except (OSError, ValueError):
        pass
    return ""


def _git_dir(git: Path) -> Path:
    """The directory itself, or that of a worktree, which a file names."""
    if git.is_dir():
        return git
    return (git.parent / _text(git).removeprefix("gitdir:").strip()).resolve()


def _head(git_dir: Path) -> str:
    head = _text(git_dir / "HEAD")
    if not head.startswith("ref:"):
        return head if _HASH.fullmatch(head) else ""
    name = head.removeprefix("ref:").strip()
    common = git_dir
    if (shared := git_dir / "commondir").exists():
        common = (git_dir / _text(shared)).resolve()
    for place in (git_dir / name, common / name):
        if place.is_file() and _HASH.fullmatch(found := _text(place)):
            return found
    packed = _text(common / "packed-refs").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {name}") and _HASH.match(line)), "")


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE).decode("utf-8", "replace").strip()
