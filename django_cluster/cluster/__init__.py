"""Who runs which verb, in which process."""
