"""django_cluster and its peers, side by side: ``make bench``. Where our own time goes: ``make profile``."""
