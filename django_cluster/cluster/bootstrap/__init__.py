"""How a process of a cluster starts, and what this machine can do for it."""
