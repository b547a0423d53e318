"""Slurm as the engine of a cluster, by its own commands."""
