"""What accelerators this machine has."""
