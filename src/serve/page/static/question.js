// A question before something that cannot be taken back.

import { el } from "./dom.js";

/** Resolves to whether the answer is `action`. */
export function question(title, meaning, action) {
  const dialog = el(
    "dialog",
    { "aria-labelledby": "question" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "question" }, title),
      el("p", { class: "soft" }, meaning),
      el(
        "div",
        { class: "actions" },
        el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        el("button", { class: "primary", value: "do" }, action),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "do");
    });
  });
}
