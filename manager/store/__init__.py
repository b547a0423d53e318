"""The store: SQLite and nothing else."""
