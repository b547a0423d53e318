"""Several modules as one: in the browser's order, each by itself, and nothing that is not known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from manager.web import assets, bundles

NODE = compute_driver_executable()[0]
"""The one that comes with Playwright."""

MODULES = {
    "deep.js": """// Has a vendored module's form of export.
const said=[];console.log("deep");export{said as default,said as words};
/*
export function given_up() {}
*/
""",
    "left.js": """import words from "./deep.js";

const hidden = "left";
export const name = () => hidden;
export function say(word) {
  words.push(word);
}
console.log("left");
""",
    "right.js": """import {
  name,
  say as speak,
} from "./left.js";
import { words } from "./deep.js";

const hidden = "right";
export async function later() {
  speak(`${name()} ${hidden}`);
  return words;
}
export class Kind {}
export { words };
console.log("right");
""",
    "page.js": """import "./left.js";
import { Kind, later, words as heard } from "./right.js";

const hidden = "page";
export const done = later().then((words) => {
  console.log(hidden, words === heard, words.join(), typeof Kind);
});
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(module: Path) -> list[str]:
    done = subprocess.run([NODE, str(module)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_one_file_does_what_the_modules_do(folder: Path) -> None:
    (folder / "package.json").write_text('{"type": "module"}')
    apart = run(folder / "page.js")
    assert apart == ["deep", "left", "right", "page true left right function"]
    (folder / "one.js").write_text(bundles.script(folder / "page.js"))
    assert run(folder / "one.js") == apart
    (folder / "user.js").write_text('import { done } from "./one.js";\nawait done;\n')
    assert run(folder / "user.js") == apart


@pytest.mark.parametrize(
    "text",
    [
        'import * as all from "./deep.js";\n',
        'import words, { said } from "./deep.js";\n',
        "import './deep.js';\n",
        "export default 1;\n",
        'export * from "./deep.js";\n',
        'export { words } from "./deep.js";\n',
        "export let changes = 1;\n",
    ],
)
def test_what_is_not_known_is_refused(folder: Path, text: str) -> None:
    (folder / "odd.js").write_text(text)
    with pytest.raises(bundles.Unknown):
        bundles.script(folder / "odd.js")


def test_modules_that_import_each_other_are_refused(folder: Path) -> None:
    (folder / "one.js").write_text('import "./two.js";\n')
    (folder / "two.js").write_text('import "./one.js";\n')
    with pytest.raises(bundles.Unknown):
        bundles.script(folder / "one.js")


@pytest.mark.parametrize("name", [name for name in assets.made() if name.endswith(".js")])
def test_every_page_has_a_whole_script(tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.mjs"
    path.write_text(assets.made()[name], encoding="utf-8")
    subprocess.run([NODE, "--check", str(path)], check=True)


def test_all_styles_are_one_file_the_plain_ones_first(tmp_path: Path) -> None:
    for name in ("audit.css", "base.css", "components.css", "work.css"):
        (tmp_path / name).write_text(f"/* {name} */")
    found = bundles.styles(tmp_path)
    assert found.split("\n") == [
        "/* base.css */",
        "/* components.css */",
        "/* audit.css */",
        "/* work.css */",
    ]
