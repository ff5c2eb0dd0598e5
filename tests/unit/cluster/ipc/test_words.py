"""Every word of the scoreboard has a place of its own."""

from __future__ import annotations

from django_cluster.cluster.ipc import words


def test_no_two_words_share_a_place() -> None:
    """Words of a row, and words of the cluster: PHASE and what follows it are the latter."""
    known = {name: value for name, value in vars(words).items() if name.isupper() and type(value) is int}
    cluster = {
        "PHASE", "RESTARTS", "SENTINEL", "PAUSED_QUEUES", "LAUNCHED", "NOTIFIER_NEEDED", "LEASED_UNTIL", "UNTIL_EMPTY",
            "COMMANDS_UNREAD",
    }  # fmt: skip
    sizes = {"WORD_BYTES", "WORDS_PER_ROW", "STILL_RUNNING", "EXIT_OFFSET"}
    row = [name for name in known if name not in cluster | sizes]

    for names in (sorted(cluster), row):
        places = [known[name] for name in names]
        assert len(places) == len(set(places)), names
        assert max(places) < words.WORDS_PER_ROW
