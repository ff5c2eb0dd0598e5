"""How the processes of one cluster talk to each other: sockets, shared memory and control pipes."""
