"""Webhooks: admins are told in their chat that something needs them.

``hooks`` reads who is told, ``shapes`` makes the message that each kind of receiver wants,
``delivery`` keeps what waits and tries again, ``sender`` sends one, as a process of its own. An
address is a secret: it stands in one file and in the memory of the manager, never in a log, on a
page, in an error or on a command line.
"""
