// The card's part of each port's row: memory, use, temperature, and who else is on it.

import { field, setText, show } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { t } from "../lib/i18n.js";

function values(card) {
  const shown = [];
  if (card.utilisation !== null) shown.push(t("admin.cards.use", { percent: card.utilisation }));
  if (card.temperature !== null) shown.push(t("admin.cards.temperature", { degrees: card.temperature }));
  if (card.power !== null) shown.push(t("admin.cards.power", { watts: card.power }));
  return shown.join(" · ");
}

function problem(card) {
  if (!card.looked) return t("admin.cards.not_looked");
  return card.unknown ? t("admin.cards.unknown", { reason: card.unknown }) : "";
}

function reason(card) {
  if (card.sick) return t("admin.cards.sick", { health: card.sick });
  return card.nobodys ? t("admin.cards.nobodys", { idle: card.idle === null ? "–" : bytes(card.idle) }) : "";
}

function renderCard(card) {
  const cell = document.querySelector(`[data-card="${card.card}"]`);
  if (!cell) return;
  show(cell, card.measured);
  if (!card.measured) return;
  const known = card.memory_total !== null;
  const bar = field(cell, "memory_bar");
  show(bar, known);
  bar.max = card.memory_total ?? 1;
  bar.value = card.memory_used ?? 0;
  const memory = { used: bytes(card.memory_used ?? 0), total: bytes(card.memory_total ?? 0) };
  setText(field(cell, "memory"), known ? t("admin.cards.memory", memory) : "");
  setText(field(cell, "values"), values(card));
  setText(field(cell, "unknown"), problem(card));
  const outside = t(card.given ? "admin.cards.beside" : "admin.cards.outside", { processes: card.outside });
  setText(field(cell, "outside"), card.outside ? outside : "");
  setText(field(cell, "busy"), reason(card));
}

export function renderCards(cards) {
  cards.forEach(renderCard);
}
