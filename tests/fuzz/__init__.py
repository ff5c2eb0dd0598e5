"""Whatever is in a queue, in an attribute or in a row: no process dies, the others flow, and it is put aside once."""
