// What a model was: its generations and what differs between them, and what happened.

import { el, swap, table } from "./dom.js";
import { when } from "./format.js";
import { ask, failure } from "./live.js";

/** Fills the two cards, and returns the generations, newest first. */
export async function fill(path, generations, events, signal) {
  try {
    const { body } = await ask(`${path}/history`, { signal });
    const { words } = body;
    const made = body.generations.map((generation, at) => generationRow(generation, words.generations[at]));
    swap(generations, table(["Generation", "When", "What came of it", "What changed", "Commit"], made, "Nothing is recorded yet.", { class: "scroll scroll-x stacks", "aria-label": "Generations" }));
    const past = body.events.map((event, at) => eventRow(event, words.events[at]));
    swap(events, table(["When", "What", "Generation", "Why"], past, "Nothing has happened yet.", { class: "scroll scroll-x stacks", "aria-label": "History" }));
    return body.generations;
  } catch (error) {
    if (!signal.aborted) [generations, events].forEach((place) => place.replaceChildren(failure(error)));
    return [];
  }
}

const OUTCOMES = { pending: "not ready yet", ready: "became ready", failed: "failed" };

function generationRow({ generation, at, outcome, failure, commit, dirty }, changes) {
  return el(
    "tr",
    {},
    el("td", {}, String(generation)),
    el("td", { class: "soft nowrap" }, when(at)),
    el("td", { class: outcome === "failed" ? "bad" : null }, failure ? `${OUTCOMES[outcome]}: ${failure}` : OUTCOMES[outcome]),
    el("td", {}, changes.map((change) => el("p", {}, change))),
    el("td", {}, commit && el("code", { title: commit }, commit.slice(0, 10)), dirty ? " and uncommitted changes" : ""),
  );
}

function eventRow({ at, event, generation, failure, cause }, reasons) {
  return el(
    "tr",
    {},
    el("td", { class: "soft nowrap" }, when(at)),
    el("td", {}, event.replace("_asked", " requested").replaceAll("_", " ")),
    el("td", { class: "number" }, generation ? String(generation) : ""),
    el("td", {}, failure && el("p", { class: "bad" }, failure), reasons.map((reason) => el("p", {}, reason)), el("p", { class: "soft" }, cause)),
  );
}
