// The demo's page: sends a prompt, follows the websocket, shows results. All addresses are
// relative, so that it works wherever the page is served from.

const texts = JSON.parse(document.getElementById("texts").textContent);
const clientId = crypto.getRandomValues(new Uint32Array(4)).join("-");
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const RETRY_MS = 1000;
const SHOWN = 24;

let current = null; // id of the prompt this page watches

function show(state, detail) {
  const line = part("state");
  line.dataset.state = state;
  line.textContent = detail ? `${texts[state]} — ${detail}` : texts[state];
  part("interrupt").disabled = state !== "working" && state !== "waiting";
}

function setProgress(share) {
  const percent = Math.round(share * 100);
  part("bar").style.width = `${percent}%`;
  part("progress").setAttribute("aria-valuenow", String(percent));
}

function addPicture(image, caption, first = true) {
  const query = new URLSearchParams(image);
  const card = document.getElementById("picture").content.cloneNode(true);
  const address = `view?${query}`;
  card.querySelector("a").href = address;
  card.querySelector("img").src = address;
  card.querySelector("img").alt = caption || texts.open;
  card.querySelector("figcaption").textContent = caption || image.filename;
  const gallery = part("gallery");
  if (first) gallery.prepend(card);
  else gallery.append(card);
  while (gallery.children.length > SHOWN) gallery.lastElementChild.remove();
  part("empty").hidden = true;
}

function textOf(prompt) {
  const nodes = Object.values(prompt ?? {});
  return nodes.map((node) => node.inputs?.text).find((text) => typeof text === "string") ?? "";
}

const onMessage = {
  status: (data) => {
    part("remaining").textContent = String(data.status.exec_info.queue_remaining);
  },
  execution_start: (data) => {
    if (data.prompt_id !== current) return;
    setProgress(0);
    show("working");
  },
  progress: (data) => {
    if (data.prompt_id === current) setProgress(data.value / data.max);
  },
  executed: (data) => {
    for (const image of data.output.images ?? []) addPicture(image, sent.get(data.prompt_id));
  },
  execution_success: (data) => finish(data, "done", 1),
  execution_interrupted: (data) => finish(data, "interrupted", 0),
  execution_error: (data) => finish(data, "failed", 0, data.exception_message),
};

const sent = new Map(); // prompt id → its text, for captions

function finish(data, state, share, detail) {
  if (data.prompt_id !== current) return;
  setProgress(share);
  show(state, detail);
}

function connect() {
  const address = new URL(`ws?clientId=${clientId}`, document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.addEventListener("open", () => setConnection("online"));
  socket.addEventListener("message", (event) => {
    if (typeof event.data !== "string") return;
    const message = JSON.parse(event.data);
    onMessage[message.type]?.(message.data);
  });
  socket.addEventListener("close", () => {
    setConnection("offline");
    setTimeout(connect, RETRY_MS);
  });
}

function setConnection(state) {
  part("connection").dataset.state = state;
  part("connection-text").textContent = texts[state];
}

function graph(text) {
  return {
    "1": {
      class_type: "DemoPaint",
      inputs: { text, seed: Math.floor(Math.random() * 1e9), width: 768, height: 512 },
    },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "demo" } },
  };
}

async function generate(event) {
  event.preventDefault();
  const field = document.getElementById("text");
  const text = field.value.trim() || field.placeholder;
  // Chosen here: the first event may come before the answer that would name it.
  current = `${clientId}-${sent.size + 1}`;
  sent.set(current, text);
  setProgress(0);
  show("waiting");
  try {
    const answer = await fetch("prompt", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: graph(text), client_id: clientId, prompt_id: current }),
    });
    if (!answer.ok) throw new Error(String(answer.status));
  } catch (error) {
    show("refused", error.message);
  }
}

async function showHistory() {
  const answer = await fetch(`history?max_items=${SHOWN}`);
  if (!answer.ok) return;
  for (const entry of Object.values(await answer.json())) {
    for (const output of Object.values(entry.outputs)) {
      for (const image of output.images ?? []) addPicture(image, textOf(entry.prompt[2]));
    }
  }
}

part("form").addEventListener("submit", generate);
part("interrupt").addEventListener("click", () => fetch("interrupt", { method: "POST" }));
await showHistory();
connect();
