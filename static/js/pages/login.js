// The login form: shows the password on wish and counts a waiting time down.

import { closeMenus, revealPasswords, setText } from "../lib/dom.js";

revealPasswords();
closeMenus();

const wait = document.querySelector("[data-wait]");
if (wait) {
  const until = Date.now() + Number(wait.dataset.wait) * 1000;
  const timer = setInterval(() => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left > 0) {
      setText(wait, wait.dataset.waitText.replace("{seconds}", left));
      return;
    }
    clearInterval(timer);
    setText(wait, wait.dataset.retryText);
  }, 500);
}
