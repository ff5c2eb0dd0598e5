"""What each process of a cluster does: the pusher, the workers, the monitor, the scheduler, the notifier."""
