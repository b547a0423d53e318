// The dialog that makes one account.

import { post } from "../lib/api.js";
import { showProblem, toast, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

// Without 0/O, 1/l/I: a first password is often read aloud.
const LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GENERATED_LENGTH = 14;

const createDialog = document.querySelector("[data-create]");
const createForm = document.querySelector("[data-create-form]");

let made = () => {};

/** Have `take` called with each account that is made. */
export function onCreated(take) {
  made = take;
}

function generate() {
  const numbers = crypto.getRandomValues(new Uint32Array(GENERATED_LENGTH));
  createForm.elements.password.value = [...numbers].map((number) => LETTERS[number % LETTERS.length]).join("");
}

async function create(event) {
  event.preventDefault();
  const place = createForm.querySelector("[data-problem]");
  const { username, password, assigned_port: port, is_admin: admin } = createForm.elements;
  showProblem(place, "");
  await whileBusy(createForm.querySelector("button:not([type])"), async () => {
    try {
      const { user } = await post("/api/admin/users", {
        username: username.value,
        password: password.value,
        is_admin: admin.checked,
        assigned_port: port.value ? Number(port.value) : null,
      });
      createDialog.close();
      toast(t("admin.created", user));
      made(user);
    } catch (error) {
      showProblem(place, error.message);
    }
  });
}

document.querySelector('[data-action="create"]').addEventListener("click", () => {
  createForm.reset();
  showProblem(createForm.querySelector("[data-problem]"), "");
  createDialog.showModal();
});
createForm.addEventListener("submit", create);
createForm.querySelector('[data-action="generate"]').addEventListener("click", generate);
createForm.querySelector('[data-action="cancel"]').addEventListener("click", () => createDialog.close());
