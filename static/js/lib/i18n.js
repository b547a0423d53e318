// The page's sentences, as the server chose them; places are written {name} on both sides.

const data = JSON.parse(document.querySelector("[data-page-data]")?.textContent ?? "{}");

export const pageData = data;
export const language = data.language ?? document.documentElement.lang;

const words = data.words ?? {};

export function has(key) {
  return key in words;
}

export function t(key, params = {}) {
  const sentence = words[key] ?? key;
  return sentence.replace(/\{([a-z_]+)\}/g, (place, name) => (name in params ? String(params[name]) : place));
}
