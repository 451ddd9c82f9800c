// What was asked of the models.

import { fill } from "./activity.js";
import { el } from "./dom.js";

export function show(main) {
  document.title = "Requests – herdsman";
  const place = el("div");
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Last requests")), el("section", { class: "card" }, place));
  const gone = new AbortController();
  const look = () => fill(place, null, gone.signal, 200);
  look();
  const clock = setInterval(look, 2000);
  return () => {
    clearInterval(clock);
    gone.abort();
  };
}
