"""The whole way on a real ComfyUI; run by ``./start_manager.sh test --real``."""
