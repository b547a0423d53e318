"""The gate: Caddy, its file and its tokens."""
