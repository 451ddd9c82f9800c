// The definition of a model, as it is in its file.

import { el } from "./dom.js";
import { ask, named } from "./live.js";

/** The card, and how to draw it again. */
export function show(name, signal) {
  const place = el("section", { class: "card" }, el("h2", {}, "Definition"));
  return { place, draw: () => draw(name, place, signal) };
}

function head(file) {
  const edit = file && el("a", { class: "button", href: `#/edit/${encodeURIComponent(file)}` }, "Edit");
  return el("div", { class: "bar" }, el("h2", {}, "Definition"), el("span", { class: "grow" }), edit);
}

async function draw(name, place, signal) {
  const model = named(name);
  const parameters = Object.entries(model?.parameters ?? {});
  const rows = parameters.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]);
  const file = model?.file?.split("/").pop();
  place.replaceChildren(head(file), model?.file ? el("p", { class: "soft" }, model.file) : "", el("dl", { class: "scroll" }, rows));
  if (!file) return;
  try {
    const { body } = await ask(`api/definitions/${encodeURIComponent(file)}`, { signal });
    place.replaceChildren(head(file), el("p", { class: "soft" }, model.file), el("pre", { class: "scroll" }, body.text));
  } catch {
    // Without its text the parameters are shown.
  }
}
