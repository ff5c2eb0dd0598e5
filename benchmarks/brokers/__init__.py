"""How fast each broker takes messages in and gives them out, beside the least that its server could be asked to do."""
