"""Ray as the engine of a cluster, by its Jobs REST API; nothing of Ray is imported."""
