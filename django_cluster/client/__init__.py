"""The asking side: enqueue tasks, read their results, retry them."""
