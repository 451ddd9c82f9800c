// A box for a text with the numbers of its lines, and marks at those that are wrong.

import { el } from "./dom.js";

/** The element, its text area, and `mark(lines)`: which lines are wrong. */
export function box(label, onchange) {
  const lines = el("div", { class: "lines", "aria-hidden": "true" });
  const area = el("textarea", { class: "editor", wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": label });
  let marked = new Map();

  function number() {
    const count = area.value.split("\n").length;
    while (lines.childElementCount > count) lines.lastElementChild.remove();
    while (lines.childElementCount < count) lines.append(el("span", {}, String(lines.childElementCount + 1)));
    [...lines.children].forEach((line, at) => {
      const kind = marked.get(at + 1) ?? "";
      if (line.className !== kind) line.className = kind;
    });
    lines.scrollTop = area.scrollTop;
  }

  area.addEventListener("input", () => {
    number();
    onchange();
  });
  area.addEventListener("scroll", () => {
    lines.scrollTop = area.scrollTop;
  });
  return {
    element: el("div", { class: "code" }, lines, area),
    area,
    set(text) {
      area.value = text;
      number();
    },
    mark(flaws) {
      marked = new Map(flaws.filter(({ line }) => line).map(({ line, severity }) => [line, severity]));
      number();
    },
    /** Puts the caret there. */
    go(line, column) {
      const before = area.value.split("\n").slice(0, line - 1);
      const at = before.reduce((sum, text) => sum + text.length + 1, 0) + Math.max(0, column - 1);
      area.focus();
      area.setSelectionRange(at, at);
      area.scrollTop = Math.max(0, (line - 5) * (area.scrollHeight / area.value.split("\n").length));
    },
  };
}
