"""The example project: a census of the Python library of this machine, taken by a cluster."""
