// A box to try a model: a prompt with streaming, or an embedding.

import { el } from "./dom.js";
import { rate, seconds } from "./format.js";

export function show(name, signal) {
  const kind = el("select", { "aria-label": "What to try" }, el("option", { value: "chat" }, "Chat"), el("option", { value: "completion" }, "Completion"), el("option", { value: "embedding" }, "Embedding"));
  const prompt = el("textarea", { rows: "3", "aria-label": "Prompt", placeholder: "Ask something; Ctrl+Enter sends" });
  const answer = el("pre", { class: "scroll answer", role: "log", tabindex: "0", "aria-label": "Answer", hidden: true });
  const note = el("p", { class: "soft", role: "status" });
  const button = el("button", { class: "primary" }, "Send");
  const form = el("form", {}, prompt, el("div", { class: "bar tight" }, kind, button, note));
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  let running = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return running.abort();
    running = new AbortController();
    button.textContent = "Stop";
    answer.textContent = "";
    answer.hidden = false;
    note.textContent = "waiting; a model that does not run is started first";
    try {
      note.textContent = await time(send(name, kind.value, prompt.value, AbortSignal.any([running.signal, signal])), (text) => {
        answer.append(text);
        answer.scrollTop = answer.scrollHeight;
      });
    } catch (error) {
      note.textContent = running.signal.aborted ? "stopped" : error.message;
    }
    running = null;
    button.textContent = "Send";
  });
  return el("section", { class: "card" }, el("h2", {}, "Try it"), form, answer);
}

/** Hands on what comes, and returns how fast that was. */
async function time(pieces, add) {
  const began = performance.now();
  const after = () => (performance.now() - began) / 1000;
  let [first, count] = [null, 0];
  for await (const piece of pieces) {
    first ??= after();
    count += 1;
    add(piece);
  }
  const took = after();
  if (first === null) return `done after ${seconds(took)}; the answer is empty`;
  // A piece is a token.
  const speed = count > 1 && took > first ? `, ${rate((count - 1) / (took - first))} tokens/s` : "";
  return `first byte after ${seconds(first)}, done after ${seconds(took)}${speed}`;
}

const REQUESTS = {
  chat: (model, text) => ["v1/chat/completions", { model, messages: [{ role: "user", content: text }], stream: true }],
  completion: (model, text) => ["v1/completions", { model, prompt: text, max_tokens: 256, stream: true }],
  embedding: (model, text) => ["v1/embeddings", { model, input: text }],
};

async function* send(name, kind, text, signal) {
  const [path, body] = REQUESTS[kind](name, text);
  const response = await fetch(new URL(path, document.baseURI), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error(await failed(response));
  if (kind === "embedding") yield embedding(await response.json());
  else yield* events(response);
}

async function failed(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** The first numbers of a vector, and its length. */
function embedding(answer) {
  const vector = answer.data[0].embedding;
  const length = Math.hypot(...vector);
  return `${vector.length} numbers, length ${length.toFixed(3)}\n${vector.slice(0, 12).map((number) => number.toFixed(4)).join("  ")}${vector.length > 12 ? "  …" : ""}`;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices?.[0];
      const piece = choice?.delta?.content ?? choice?.delta?.reasoning_content ?? choice?.text;
      if (piece) yield piece;
    }
  }
}
