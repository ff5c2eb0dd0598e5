"""The examples of the requirement documents about tasks, queues, retries and results, translated line by line."""
