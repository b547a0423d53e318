"""Pictures of every face that a user's page can have, for ``tests.browser.screenshots``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.browser import Person
from tests.support.listening_page import ListeningPage
from tests.support.states import ARRANGED, user_states

LANGUAGES = {"en": "en", "zh_CN": "zh"}

_INDEX = """# The faces of a user's page

Made together with the other pictures by `python -m tests.browser.screenshots`. What they show is
told to the page by a test: nobody worked on these cards.

| | English | 中文 |
|---|---|---|
"""


def keep_states(
    people: dict[str, Person], folder: Path, keep: Callable[[Person, str], None]
) -> None:
    """Show each face to somebody of each language, and keep it below ``folder``.

    ``people`` are logged in, by language; ``keep`` takes who looks and the picture's name.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listening = {}
    for language, person in people.items():
        listening[language] = ListeningPage(person.page)
        person.goes("/")
        person.headline("user.headline.idle")
        # Paths of the machine that made the picture say nothing to a reader.
        person.page.locator("[data-demo]").evaluate("banner => banner.remove()")
    with tempfile.TemporaryDirectory() as house:
        for name, state in user_states(Path(house)):
            for language, page in listening.items():
                page.tell(state)
                keep(people[language], f"{folder.name}/{_file(name)}-{LANGUAGES[language]}")
    rows = [
        f"| {name} | ![{name}]({_file(name)}-en.png) | ![{name}]({_file(name)}-zh.png) |\n"
        for name in ARRANGED
    ]
    (folder / "README.md").write_text(_INDEX + "".join(rows), encoding="utf-8")


def _file(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")
