"""``python -m shop.ready``: exit code 0 when the cluster of this container is running, for a startup probe."""

from __future__ import annotations

import os
import sys

import django


def is_ready() -> bool:
    from django_cluster import control

    here = os.uname().nodename
    return any(each.host == here and each.state == "running" for each in control.clusters())


if __name__ == "__main__":
    django.setup()
    sys.exit(not is_ready())
