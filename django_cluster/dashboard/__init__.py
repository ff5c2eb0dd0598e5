"""What people look at: one frozen snapshot, pure functions that turn it into text, and a screen."""
