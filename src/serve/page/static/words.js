// What there is to say of a model in a few words: the same in the list, in its view, and
// for who listens.

import { when } from "./format.js";

const byHand = (model, what) => model.byHand.find((asked) => asked.what === what);

/** The word for what a model does, and what its dot shows. */
export function statusOf(model) {
  if (byHand(model, "suspended")) return ["suspended", `suspended (${model.status})`];
  if (model.isLastKnown) return [model.status, `${model.status} (last known)`];
  if (model.status !== "idle") return [model.status, model.status];
  if (byHand(model, "stopped") || model.desired === "stopped") return ["idle", "stopped"];
  return ["idle", model.desired === "on_demand" ? "on demand" : "idle"];
}

export function generationOf(model) {
  if (!model.generation) return "";
  if (model.serving !== null && model.serving !== model.generation) return `${model.serving} → ${model.generation}`;
  return String(model.generation);
}

/** Who asked for what by hand, until when, and why. */
export function askedFor({ what, by, at, until, reason }) {
  const end = until ? ` until ${when(until)}` : "";
  return `${what} by ${by} at ${when(at)}${end}${reason ? `: ${reason}` : ""}`;
}

/** What is wrong with a model, what it waits for, and what was asked for by hand: each once. */
export function reasonsOf(model) {
  if (!model.managed && !model.problem) return ["not managed: a row of another program"];
  const { problem, byHand } = model;
  // Both are said better: without the way there, and with times that do not age.
  const isSaid = (wait) => (problem && wait.includes(problem)) || byHand.some(({ what }) => wait.startsWith(what));
  // "in 6 s" is true when it is said; the page shows it for longer.
  const ageless = (wait) => wait.replace(/ in [\d.][^()]* \(at ([^()]+)\)/, " at $1");
  const waits = model.waitingFor.filter((wait) => !isSaid(wait)).map(ageless);
  const all = [problem, ...model.reasons, ...waits, ...byHand.map(askedFor)];
  return [...new Set(all.filter(Boolean))];
}

export const reasonOf = (model) => reasonsOf(model).join("; ");

/** Whether a definition or a server is broken. */
export const isBad = (model) => model.status === "error" || model.isBlocked || Boolean(model.problem);

/** Whether somebody should look at it. */
export const needsAttention = (model) => isBad(model) || (model.managed && !model.inSync && model.status !== "loading");
