// What can be done with a model, and the question before it.

import { el, toast } from "./dom.js";
import { ask } from "./live.js";
import { open } from "./question.js";

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
    el("button", { type: "button", class: "needs-admin", onclick: () => give(model.name, verb), "aria-label": `${label(verb)} ${model.name}`, "data-model": model.name }, label(verb)),
  );
}

const DURATIONS = ["30m", "2h", "8h", "1d"];

/** Asks for a reason, and gives the command. What is refused can be changed and sent again. */
export function give(name, verb) {
  const [title, meaning] = TEXTS[verb];
  const reason = el("input", { id: "reason", autocomplete: "off", maxlength: "500", placeholder: "optional; the history keeps it" });
  const lasts = el("input", { id: "for", autocomplete: "off", list: "durations", placeholder: "2h; empty: until somebody resumes it" });
  const durations = el("datalist", { id: "durations" }, DURATIONS.map((value) => el("option", { value })));
  const refused = el("p", { class: "bad", role: "alert" });
  const duration = verb === "suspend" ? [el("label", { for: "for" }, "For how long"), lasts, durations] : [];
  const parts = [...duration, el("label", { for: "reason" }, "Reason"), reason, refused];
  const dialog = open({ title: `${title} ${name}?`, meaning, parts, action: title, onsubmit });
  dialog.addEventListener("close", () => {
    // The button that opened it may have given way to another one.
    if (document.activeElement === document.body) document.querySelector(`[data-model=${CSS.escape(name)}]`)?.focus();
  });
  (verb === "suspend" ? lasts : reason).focus();

  async function onsubmit(dialog, send) {
    send.disabled = true;
    refused.textContent = "";
    const body = {};
    if (reason.value.trim()) body.reason = reason.value.trim();
    if (verb === "suspend" && lasts.value.trim()) body.for = lasts.value.trim();
    try {
      await ask(`api/models/${encodeURIComponent(name)}/${verb}`, { method: "POST", body: JSON.stringify(body) });
      dialog.close();
      toast(`${title} ${name}: recorded`);
    } catch (error) {
      refused.textContent = error.message;
      send.disabled = false;
    }
  }
}
