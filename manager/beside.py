"""The store as an operator's command opens it, beside a manager at work or with none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from manager.data_dir import read_record
from manager.errors import Conflict
from manager.settings import Settings
from manager.store import Store, schema_fits


@contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    """Open the database; a manager that runs sees what is written within a second.

    Raises:
        Conflict: a manager runs whose version has another schema.
        StoreFailed: the database cannot be used.
    """
    running, _address = read_record(settings.data_dir)
    if running is not None and not schema_fits(settings.database_path):
        raise Conflict("the manager that runs is of another version: ./start_manager.sh restart")
    store = Store(settings.database_path, 1)
    try:
        yield store
    finally:
        store.close()
