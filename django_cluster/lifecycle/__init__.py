"""The three verbs (send, execute, record) and what they need."""
