// What a model does now, and why it is as it is.

import { el, say } from "./dom.js";
import { bytes, rate, since } from "./format.js";
import { generationOf, reasonsOf } from "./words.js";

/** A card with facts, and how to bring it up to date. */
export function facts(name) {
  const address = el("a", { href: `upstream/${encodeURIComponent(name)}/` });
  const rows = Object.fromEntries(
    ["Wanted", "Generation", "Address", "Process", "Up for", "Memory", "Requests", "Speed", "Last used", "Other names", "Crashes in a row", "Id"].map((term) => [
      term,
      [el("dt", {}, term), term === "Address" ? el("dd", {}, address) : el("dd")],
    ]),
  );
  const list = el("dl", {}, Object.values(rows).flat());
  /** Writes in place: what has the keyboard focus stays. */
  function put(term, text) {
    const [head, body] = rows[term];
    head.hidden = body.hidden = !text;
    say(term === "Address" ? address : body, text ?? "");
  }
  function show(model) {
    const { instance, requests } = model;
    const { inFlight, waiting, tokensPerSecond, lastUsed } = requests;
    put("Wanted", model.desired?.replace("_", " ") ?? (model.problem ? "its definition cannot be used" : "no definition"));
    put("Generation", generationOf(model));
    put("Address", instance?.url);
    put("Process", instance && `pid ${instance.pid}`);
    put("Up for", since(instance?.startedAt));
    put("Memory", bytes(model.memory));
    put("Requests", model.managed && `${inFlight} in flight, ${waiting} waiting`);
    put("Speed", tokensPerSecond && `${rate(tokensPerSecond)} tokens/s, the last request`);
    put("Last used", lastUsed && `${since(lastUsed)} ago`);
    put("Other names", model.aliases.join(", "));
    put("Crashes in a row", model.crashes ? String(model.crashes) : "");
    put("Id", model.id);
  }
  return { element: el("section", { class: "card" }, el("h2", {}, "Now"), list), show };
}

/** A card that says why. */
export function why() {
  const list = el("ul", { class: "plain" });
  let said = null;
  function show(model) {
    const items = reasonsOf(model);
    const { lastFailure } = model;
    if (lastFailure && !items.some((item) => item.includes(lastFailure))) items.push(`last failure: ${lastFailure}`);
    if (!items.length) items.push(model.inSync ? "matches its definition; nothing to do" : "nothing to do");
    const text = JSON.stringify(items);
    if (text === said) return;
    said = text;
    list.replaceChildren(...items.map((item) => el("li", {}, item)));
  }
  return { element: el("section", { class: "card" }, el("h2", {}, "Why"), list), show };
}
