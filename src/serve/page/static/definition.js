// The definition of a model, as it is in its file.

import { el } from "./dom.js";
import { ask, named } from "./live.js";

export function show(name, signal) {
  const place = el("section", { class: "card" }, el("h2", {}, "Definition"));
  draw(name, place, signal);
  return place;
}

async function draw(name, place, signal) {
  const model = named(name);
  const parameters = Object.entries(model?.parameters ?? {});
  const rows = parameters.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]);
  place.replaceChildren(el("h2", {}, "Definition"), model?.file ? el("p", { class: "soft" }, model.file) : "", el("dl", { class: "scroll" }, rows));
  if (!model?.file) return;
  try {
    const { body } = await ask(`api/definitions/${encodeURIComponent(model.file.split("/").pop())}`, { signal });
    place.replaceChildren(el("h2", {}, "Definition"), el("p", { class: "soft" }, model.file), el("pre", { class: "scroll" }, body.text));
  } catch {
    // Without its text the parameters are shown.
  }
}
