// Makes elements. Whatever a definition, a log or a client says becomes text, never markup.

/** el("p", {class: "soft"}, "text", child, …): `null` and `false` are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets text only where it differs: a write that changes nothing costs a layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces the children; the keyboard focus stays near where it was. */
export function swap(place, ...children) {
  const hadFocus = place.contains(document.activeElement);
  place.replaceChildren(...children);
  if (hadFocus) place.querySelector("button, a, [tabindex]")?.focus({ preventScroll: true });
}

/** Puts `elements` into `place` in this order, and moves as few as it can. */
export function arrange(place, elements) {
  const focused = document.activeElement;
  let next = place.firstChild;
  for (const element of elements) {
    // The one before it goes elsewhere, or away.
    if (next && next.nextSibling === element) {
      next.remove();
      next = element;
    }
    if (next === element) next = element.nextSibling;
    else place.insertBefore(element, next);
  }
  while (next) {
    const gone = next;
    next = gone.nextSibling;
    gone.remove();
  }
  if (document.activeElement !== focused && place.contains(focused)) focused.focus({ preventScroll: true });
}

/** A table, or a sentence if it has no rows. The class `stacks` makes cards of its rows on
 * a narrow screen: each cell says its head, and roles are said, which that layout loses. */
export function table(head, rows, empty, attributes = {}) {
  if (!rows.length) return el("p", { class: "soft" }, empty);
  const heads = head.map((text) => el("th", { scope: "col", role: "columnheader" }, text));
  for (const row of rows) {
    row.setAttribute("role", "row");
    [...row.children].forEach((cell, at) => {
      cell.setAttribute("role", "cell");
      cell.dataset.label = head[at];
    });
  }
  const body = el("tbody", { role: "rowgroup" }, rows);
  const whole = el("table", { role: "table" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)), body);
  return el("div", { class: "scroll-x", tabindex: "0", role: "region", ...attributes }, whole);
}

export const modelLink = (name) => el("a", { href: `#/models/${encodeURIComponent(name)}` }, name);

/** Says something in a corner for a while. */
export function toast(text, isBad = false) {
  const note = el("p", { class: isBad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), isBad ? 12000 : 5000);
}
