// What people call a card: its number, and the machine that has it where there are several.

import { t } from "./i18n.js";

export function cardLabel({ card, node }) {
  if (!node) return t("card.label", { card });
  return node === "any" ? t("card.any_node", { card }) : t("card.on_node", { card, node });
}
