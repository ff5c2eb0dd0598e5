"""Where the runs of a cluster take place, as post-mortems name it."""

from __future__ import annotations

import os

from django_cluster.cluster.roles.heartbeat import versions
from django_cluster.core.post_mortem import HostFacts
from django_cluster.core.settings import ProcessSettings


def host_facts(settings: ProcessSettings) -> HostFacts | None:
    """Host, versions and revision; None where failures are not explained."""
    if not settings.post_mortem:
        return None
    return HostFacts(host=os.uname().nodename, versions=versions(), revision=settings.revision or "")
