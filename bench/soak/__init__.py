"""A week of life in at most an hour, with faults at random; see ``bench.soak.__main__``."""
