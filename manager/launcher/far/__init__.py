"""Launches on other machines: one supervisor each there, by an engine that places jobs."""
