// What a server writes, as it comes.

import { el } from "./dom.js";
import { isPassing } from "./live.js";

/** How many characters are kept. */
const MOST = 200000;
/** How long to wait before the next try, ms. */
const PAUSE = 2000;
/** How near the end, in pixels, a reader follows it. */
const NEAR = 30;

/** A card, and how to begin to read. */
export function show(path, signal) {
  const log = el("pre", { class: "scroll log", role: "log", tabindex: "0", "aria-label": "Log", "aria-live": "off" });
  const end = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => follow() }, "↓ Follow");
  const follow = () => (log.scrollTop = log.scrollHeight);
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  log.addEventListener("scroll", () => (end.hidden = isAtEnd()));
  let kept = 0;

  function clear() {
    log.textContent = "";
    kept = 0;
  }

  function add(text) {
    const follows = isAtEnd();
    log.append(text);
    kept += text.length;
    while (kept > MOST && log.firstChild !== log.lastChild) {
      kept -= log.firstChild.data.length;
      log.firstChild.remove();
    }
    if (follows) follow();
    else end.hidden = false;
  }

  const element = el("section", { class: "card wide" }, el("div", { class: "title" }, el("h2", {}, "Log"), end), log);
  return { element, begin: () => read(path, signal, { clear, add }) };
}

async function read(path, signal, { clear, add }) {
  while (!signal.aborted) {
    try {
      const response = await fetch(new URL(`${path}/logs?lines=200&follow=true`, document.baseURI), { signal });
      if (!response.ok) {
        const { detail } = await response.json();
        clear();
        add(detail);
        if (!isPassing(response)) return;
        throw new Error(detail);
      }
      clear();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) add(part.value);
    } catch {
      // What was read, or why nothing can be, stays until there is more.
    }
    if (!signal.aborted) await new Promise((wake) => setTimeout(wake, PAUSE));
  }
}
