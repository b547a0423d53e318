"""Process trees: begin, look, end."""
