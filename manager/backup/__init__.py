"""Backup into one archive beside a manager at work, and restore from it.

In an archive: the database, ``manager.toml``, the key that signs cookies, the idle memory of the
cards, the operator's own lines of the Caddyfile, and if asked for the users' workspaces. No
login and no token that was in force: those are dead in a backup.
"""
