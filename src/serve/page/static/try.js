// A box to try a model: a prompt with streaming, or an embedding.

import { el } from "./dom.js";
import { seconds } from "./format.js";

export function show(name, signal) {
  const kind = el("select", { "aria-label": "What to try" }, el("option", { value: "chat" }, "Chat"), el("option", { value: "completion" }, "Completion"), el("option", { value: "embedding" }, "Embedding"));
  const prompt = el("textarea", { rows: "3", "aria-label": "Prompt", placeholder: "Ask something" });
  const answer = el("pre", { class: "scroll", role: "log", "aria-label": "Answer" });
  const note = el("p", { class: "soft", role: "status" });
  const button = el("button", { class: "primary" }, "Send");
  let running = null;
  const form = el("form", {}, prompt, el("div", { class: "bar" }, kind, button, note));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return running.abort();
    running = new AbortController();
    signal.addEventListener("abort", () => running?.abort());
    button.textContent = "Stop";
    answer.textContent = "";
    const began = performance.now();
    note.textContent = "waiting; a model that does not run is started first";
    try {
      await send(name, kind.value, prompt.value, running.signal, (text) => {
        if (!answer.textContent) note.textContent = `first byte after ${seconds((performance.now() - began) / 1000)}`;
        answer.append(text);
        answer.scrollTop = answer.scrollHeight;
      });
      note.textContent += `; done after ${seconds((performance.now() - began) / 1000)}`;
    } catch (error) {
      note.textContent = running.signal.aborted ? "stopped" : error.message;
    }
    running = null;
    button.textContent = "Send";
  });
  return el("section", { class: "card" }, el("h2", {}, "Try it"), form, answer);
}

const REQUESTS = {
  chat: (model, text) => ["v1/chat/completions", { model, messages: [{ role: "user", content: text }], stream: true }],
  completion: (model, text) => ["v1/completions", { model, prompt: text, max_tokens: 256, stream: true }],
  embedding: (model, text) => ["v1/embeddings", { model, input: text }],
};

async function send(name, kind, text, signal, add) {
  const [path, body] = REQUESTS[kind](name, text);
  const response = await fetch(new URL(path, document.baseURI), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok || kind === "embedding") {
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error?.message ?? response.statusText);
    const vector = answer.data[0].embedding;
    return add(`${vector.length} numbers: ${vector.slice(0, 12).map((number) => number.toFixed(4)).join(" ")} …`);
  }
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
      if (piece) add(piece);
    }
  }
}
