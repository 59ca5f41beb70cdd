"""Real models with real data, one a file: how it is loaded, what it reads, how it is judged."""
