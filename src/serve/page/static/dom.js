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

/** Says something in a corner for a while. */
export function toast(text, isBad = false) {
  const note = el("p", { class: isBad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), isBad ? 12000 : 5000);
}
