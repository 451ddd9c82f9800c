// What is wrong with definitions, as the reader says it.

import { el } from "./dom.js";

/** One problem. `place` says where it is, or leads there. */
export function diagnostic({ severity, message, help }, place) {
  return el("div", { class: `diagnostic ${severity}` }, el("p", {}, place, ` ${message}`), help && el("p", { class: "soft" }, help));
}
