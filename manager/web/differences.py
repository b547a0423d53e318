"""What differs between two views, in as few words as a page can put back together. Pure.

``static/js/lib/live.js`` has the other half: ``merge``.
"""

from __future__ import annotations

from typing import Any

View = dict[str, Any]

KEYED = {"ports": "port", "cards": "card"}
"""Lists of views that are told one by one, and what each is known by; the page knows the same."""


def difference(old: View, new: View) -> View | None:
    """Give what changed: parts by name.

    Of a part that is a view before and after only the fields that changed, of a list in ``KEYED``
    only the entries that changed, each with its key and the fields that changed; any other part
    whole.

    Returns:
        Nothing changed: an empty view. None where a difference cannot say it, because names or
        keys are others than before: the whole has to be told.
    """
    try:
        changed = _fields(old, new)
        return {name: _part(name, old[name], value) for name, value in changed.items()}
    except _Unsayable:
        return None


class _Unsayable(Exception):
    """There is something new that has no place in what was."""


def _fields(old: View, new: View) -> View:
    if old.keys() != new.keys():
        raise _Unsayable
    return {name: value for name, value in new.items() if value != old[name]}


def _part(name: str, old: object, new: object) -> object:
    if isinstance(old, dict) and isinstance(new, dict):
        return _fields(old, new)
    if name in KEYED and isinstance(old, list) and isinstance(new, list):
        return _entries(old, new, KEYED[name])
    return new


def _entries(old: list[View], new: list[View], key: str) -> list[View]:
    if [one[key] for one in old] != [one[key] for one in new]:
        raise _Unsayable
    pairs = zip(old, new, strict=True)
    return [{key: now[key], **_fields(before, now)} for before, now in pairs if before != now]
