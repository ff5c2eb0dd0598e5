"""``qmonitor``, ``qinfo`` and ``qmemory``: a frozen snapshot, pure functions that draw it, and a screen."""
