// What can be done with a model, and the question before it.

import { el, toast } from "./dom.js";
import { ask } from "./live.js";

const isSuspended = (model) => model.byHand.some((byHand) => byHand.what === "suspended");

/** What is worth offering for a model as it is, the usual one first. */
export function verbs(model) {
  if (!model.managed) return [];
  if (isSuspended(model)) return ["resume"];
  if (model.instance) return ["stop", "restart", "suspend"];
  return ["start", "suspend"];
}

const TEXTS = {
  start: ["Start", "It runs until somebody stops it or its definition changes."],
  stop: ["Stop", "Requests in flight are finished first. It stays stopped until somebody starts it or its definition changes."],
  restart: ["Restart", "Requests in flight are finished first; others wait."],
  suspend: ["Suspend", "herdsman leaves it alone: it does not even restart it after a crash."],
  resume: ["Resume", "It follows its definition again."],
};

export const label = (verb) => TEXTS[verb][0];

/** Buttons for a model. */
export function buttons(model, many = verbs(model)) {
  return many.map((verb) =>
    el("button", { type: "button", onclick: () => give(model.name, verb), "aria-label": `${label(verb)} ${model.name}` }, label(verb)),
  );
}

/** Asks for a reason, and gives the command. */
export function give(name, verb) {
  const [title, meaning] = TEXTS[verb];
  const reason = el("input", { name: "reason", id: "reason", autocomplete: "off", placeholder: "optional; the history keeps it" });
  const lasts = el("input", { name: "for", id: "for", autocomplete: "off", placeholder: "2h; empty: until somebody resumes it" });
  const dialog = el(
    "dialog",
    { "aria-labelledby": "question" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "question" }, `${title} ${name}?`),
      el("p", { class: "soft" }, meaning),
      verb === "suspend" && [el("label", { for: "for" }, "For how long"), lasts],
      el("label", { for: "reason" }, "Reason"),
      reason,
      el(
        "div",
        { class: "actions" },
        el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        el("button", { class: "primary", value: "do" }, title),
      ),
    ),
  );
  dialog.addEventListener("close", async () => {
    dialog.remove();
    if (dialog.returnValue !== "do") return;
    const body = {};
    if (reason.value.trim()) body.reason = reason.value.trim();
    if (verb === "suspend" && lasts.value.trim()) body.for = lasts.value.trim();
    try {
      await ask(`api/models/${encodeURIComponent(name)}/${verb}`, { method: "POST", body: JSON.stringify(body) });
      toast(`${title} ${name}: recorded`);
    } catch (error) {
      toast(error.message, true);
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  reason.focus();
}
