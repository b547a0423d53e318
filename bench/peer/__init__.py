"""JupyterHub as the peer to be compared with; see ``bench.against_jupyterhub``."""
