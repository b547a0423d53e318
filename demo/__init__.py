"""A stand-in for ComfyUI, used where none is installed and by the tests. It makes no AI images."""
