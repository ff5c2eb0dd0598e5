"""Values only: no socket, no table, no process, and no clock of its own."""
