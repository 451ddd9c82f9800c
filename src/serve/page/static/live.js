// The models as they are now, by web socket, and the truth about the connection.

import { el } from "./dom.js";

/** By key: the id of the row, or the name of a model without one. */
export const models = new Map();

const listeners = new Set();
let seq = null;
let pause = 500;
let changed = new Set();
let isAll = false;
let scheduled = false;
let lastWord = 0;

/** Calls `listener(changedKeys, isAll)` before the next frame; returns how to end that. */
export function follow(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const keyOf = (model) => model.id ?? model.name;

/** Whether herdsman has said what there is. */
export const isKnown = () => seq !== null;

export function named(name) {
  for (const model of models.values()) if (model.name === name) return model;
  return null;
}

function notify() {
  if (scheduled) return;
  scheduled = true;
  // A hidden page gets no frames, and needs none.
  requestAnimationFrame(() => {
    scheduled = false;
    const [keys, all] = [changed, isAll];
    [changed, isAll] = [new Set(), false];
    for (const listener of listeners) listener(keys, all);
  });
}

function take(message) {
  lastWord = Date.now();
  switch (message.type) {
    case "models":
      models.clear();
      for (const model of message.data) models.set(keyOf(model), model);
      isAll = true;
      break;
    case "model": {
      const model = message.data;
      // One without a row had its name for a key.
      if (model.id && models.delete(model.name)) isAll = true;
      if (!models.has(keyOf(model))) isAll = true;
      models.set(keyOf(model), model);
      changed.add(keyOf(model));
      break;
    }
    case "removed":
      isAll = models.delete(message.data.key) || isAll;
      break;
    default:
  }
  if ("problem" in message) problem(message.problem);
  if (message.seq) seq = message.seq;
  notify();
}

function problem(text) {
  const place = document.getElementById("problem");
  place.hidden = !text;
  place.textContent = text ?? "";
}

function state(name, text) {
  const place = document.getElementById("connection");
  place.dataset.state = name;
  place.querySelector(".text").textContent = text;
  document.body.classList.toggle("lost", name === "lost");
}

/** Connects, again and again; `onopen` is called each time. */
export function connect(onopen) {
  const url = new URL("api/events", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("changes", "true");
  if (seq !== null) url.searchParams.set("since", seq);
  const socket = new WebSocket(url);
  socket.onopen = () => {
    pause = 500;
    lastWord = Date.now();
    state("live", "live");
    notify();
    onopen();
  };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  // The server says something every 15 s.
  const watch = setInterval(() => {
    if (socket.readyState === WebSocket.OPEN && Date.now() - lastWord > 40000) socket.close();
  }, 5000);
  socket.onclose = () => {
    clearInterval(watch);
    state("lost", `connection lost${lastWord ? ` ${new Date(lastWord).toLocaleTimeString()}` : ""}; trying again`);
    setTimeout(connect, pause, onopen);
    pause = Math.min(pause * 2, 8000);
  };
}

/** Asks the API; an answer that is an error is thrown, in its own words. */
export async function ask(path, options = {}) {
  const response = await fetch(new URL(path, document.baseURI), options);
  const text = await response.text();
  let body = text;
  try {
    body = JSON.parse(text);
  } catch {
    // It is text.
  }
  if (!response.ok) {
    const error = new Error(body?.detail ?? body?.error?.message ?? `${response.status} ${response.statusText}`);
    Object.assign(error, { status: response.status, body });
    throw error;
  }
  return { body, headers: response.headers };
}

/** Whether the same request may succeed later: the connection is lost, or the server is busy. */
export const isPassing = ({ status }) => !status || status >= 500 || status === 408 || status === 429;

export const failure = (error) => el("p", { class: "bad", role: "alert" }, error.message);
