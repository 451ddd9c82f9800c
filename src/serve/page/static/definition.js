// The definition of a model as it is in its file, with the lines that matter marked.

import { el, swap } from "./dom.js";
import { ask, isPassing } from "./live.js";
import { reasonsOf } from "./words.js";

/** How long to wait after a look that got no answer, ms. */
const RETRY = 3000;

export function show(signal) {
  const file = el("p", { class: "soft" });
  const text = el("pre", { class: "scroll source", tabindex: "0", "aria-label": "Definition" });
  const edit = el("a", { class: "button needs-edit", hidden: true }, "Edit");
  const head = el("div", { class: "bar" }, el("h2", {}, "Definition"), el("span", { class: "grow" }), edit);
  const element = el("section", { class: "card" }, head, file, text);
  let [drawn, looking, timer] = [null, null, null];

  /** Shows the definition of a model whose generations are these. Only the newest look counts. */
  async function draw(model, generations) {
    clearTimeout(timer);
    looking?.abort();
    const mine = new AbortController();
    looking = mine;
    const read = await source(model, AbortSignal.any([signal, mine.signal]));
    if (signal.aborted || mine.signal.aborted) return;
    if (read.isPassing) timer = setTimeout(() => !signal.aborted && draw(model, generations), RETRY);
    const marks = read.isFile ? marksOf(model, generations) : new Map();
    const now = JSON.stringify([model.file, read, [...marks]]);
    if (now === drawn) return;
    drawn = now;
    edit.hidden = !read.isFile;
    edit.href = `#/edit/${encodeURIComponent(nameOf(model.file ?? ""))}`;
    file.textContent = read.note;
    // What was read stays in sight until there is an answer.
    if (read.isPassing) return;
    swap(text, ...read.text.replace(/\n$/, "").split("\n").map((line, at) => numbered(line, at + 1, marks.get(at + 1))));
  }
  return { element, draw };
}

/** What there is to show, and what it is. */
async function source(model, signal) {
  if (!model.file) return { text: parameters(model), note: "no definition; the parameters of its row" };
  try {
    const { body } = await ask(`api/definitions/${encodeURIComponent(nameOf(model.file))}`, { signal });
    return { text: body.text, note: model.file, isFile: true };
  } catch (error) {
    if (isPassing(error)) return { text: "", note: `${model.file} cannot be read now: ${error.message}`, isPassing: true };
    return { text: parameters(model), note: `the parameters of its row; ${model.file} is not shown: ${error.message}` };
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
