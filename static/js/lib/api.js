// Talking to the server: JSON both ways, the CSRF token, one shape of error.

import { t } from "./i18n.js";

const csrfToken = document.querySelector('meta[name="csrf-token"]').content;

export class ApiError extends Error {
  constructor(status, code, key, message) {
    super(message);
    this.status = status;
    this.code = code;
    this.key = key;
  }
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: "error",
    });
  } catch {
    throw new ApiError(0, "offline", "offline", t("common.offline"));
  }
  const content = await response.json().catch(() => null);
  if (response.ok) return content;
  const error = content?.error ?? {};
  if (response.status === 401) location.assign("/login");
  if (error.code === "password_change_required") location.assign("/password");
  if (error.code === "second_factor_required") location.assign("/account/second-factor");
  throw new ApiError(response.status, error.code ?? "fault", error.key ?? "fault", error.message ?? t("error.fault"));
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
