"""Invalid data in a queue, an attribute or a row: it is rejected once, and nothing else is affected."""
