// The definition of a model as it is in its file, with the lines that matter marked.

import { el } from "./dom.js";
import { ask } from "./live.js";
import { reasonsOf } from "./words.js";

export function show(signal) {
  const file = el("p", { class: "soft" });
  const text = el("pre", { class: "scroll source", tabindex: "0", "aria-label": "Definition" });
  const edit = el("a", { class: "button", hidden: true }, "Edit");
  const head = el("div", { class: "bar" }, el("h2", {}, "Definition"), el("span", { class: "grow" }), edit);
  const element = el("section", { class: "card" }, head, file, text);
  let drawn = null;

  /** Shows the definition of a model whose generations are these. */
  async function draw(model, generations) {
    const read = model.file ? await source(model, signal) : parameters(model);
    const marks = marksOf(model, generations);
    const now = JSON.stringify([model.file, read, [...marks]]);
    if (signal.aborted || now === drawn) return;
    drawn = now;
    edit.hidden = !model.file;
    edit.href = `#/edit/${encodeURIComponent(nameOf(model.file ?? ""))}`;
    file.textContent = model.file ?? "no definition; the parameters of its row";
    text.replaceChildren(...read.replace(/\n$/, "").split("\n").map((line, at) => numbered(line, at + 1, marks.get(at + 1))));
  }
  return { element, draw };
}

async function source(model, signal) {
  try {
    const { body } = await ask(`api/definitions/${encodeURIComponent(nameOf(model.file))}`, { signal });
    return body.text;
  } catch {
    // It is in Git, or this key may not read it.
    return parameters(model);
  }
}

const nameOf = (path) => path.split("/").pop();

const parameters = (model) => Object.entries(model.parameters).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join("");

/** Notes by line: what is wrong there or waits for it, and what its last edit changed. */
function marksOf(model, generations) {
  const marks = new Map();
  const name = model.file && nameOf(model.file);
  const add = (line, kind, note) => {
    const before = marks.get(line);
    marks.set(line, before ? { kind: before.kind, note: `${before.note}; ${note}` } : { kind, note });
  };
  for (const reason of reasonsOf(model)) {
    for (const [place, file, line] of reason.matchAll(/([^\s:()]+\.toml):(\d+)/g)) {
      if (nameOf(file) === name) add(Number(line), reason.startsWith(place) ? "error" : "change", reason.replace(`${place}: `, "").trim());
    }
  }
  const [newest] = generations;
  if (newest && newest.generation > 1) {
    for (const { file, line } of newest.origins) {
      if (line && nameOf(file) === name && !marks.has(line)) add(line, "change", `changed in generation ${newest.generation}`);
    }
  }
  return marks;
}

function numbered(line, number, mark) {
  return el(
    "span",
    { class: mark ? `line ${mark.kind}` : "line", "data-number": number },
    `${line}\n`,
    mark && el("span", { class: "note" }, mark.note),
  );
}
