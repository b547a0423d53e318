"""ComfyUI Multi-User Manager: one ComfyUI for each user, in turn, on the cards of one server."""

__version__ = "0.1.0"
