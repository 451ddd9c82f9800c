// Questions before something is done.

import { el } from "./dom.js";

/** Opens a dialog, which is gone once it is closed. `parts` come before its buttons;
 * `onsubmit` is called when somebody chooses `action`. */
export function open({ title, meaning, parts = [], action, onsubmit }) {
  const send = el("button", { class: "primary" }, action);
  const form = el(
    "form",
    {},
    el("h2", { id: "question" }, title),
    el("p", { class: "soft" }, meaning),
    parts,
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), send),
  );
  const dialog = el("dialog", { "aria-labelledby": "question" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onsubmit(dialog, send);
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Resolves to whether the answer is `action`. */
export function question(title, meaning, action) {
  return new Promise((answer) => {
    let isMeant = false;
    const onsubmit = (dialog) => {
      isMeant = true;
      dialog.close();
    };
    open({ title, meaning, action, onsubmit }).addEventListener("close", () => answer(isMeant));
  });
}
