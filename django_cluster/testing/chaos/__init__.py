"""``qchaos``: run a cluster under load, inject faults, and check that no task was lost or repeated."""
