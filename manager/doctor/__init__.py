"""The doctor: looks at everything a manager needs, changes nothing, and says what to do.

``examine`` runs every check and gives findings: keys of sentences with their details, so that the
terminal and the admins' page say the same in the reader's language. Takes seconds, for it runs the
drivers' tools and ComfyUI's Python: a process of its own does it, never the one that serves.
"""
