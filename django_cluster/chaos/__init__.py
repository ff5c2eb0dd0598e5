"""A rehearsal of disaster: a scratch cluster whose processes are killed at random, and the books afterwards."""
