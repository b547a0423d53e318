// Finds settings as one types: those with all of the words in their name, value or meaning.

import { closeMenus, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import "./notices.js";

const form = role(document, "search");
const rows = [...document.querySelectorAll("[data-setting]")];
const textOf = (row) => [...row.querySelectorAll("[data-sought]")].map((part) => part.textContent).join(" ").toLowerCase();
const texts = new Map(rows.map((row) => [row, textOf(row)]));

function find() {
  const { q, changed } = form.elements;
  const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const fits = (!changed.checked || "changed" in row.dataset) && words.every((word) => texts.get(row).includes(word));
    show(row, fits);
    count += Number(fits);
  }
  setText(role(document, "count"), t("settings.count", { count, total: rows.length }));
  show(role(document, "nothing"), count === 0);
}

closeMenus();
show(role(form, "find"), false);
form.addEventListener("input", find);
form.addEventListener("submit", (event) => event.preventDefault());
find();
