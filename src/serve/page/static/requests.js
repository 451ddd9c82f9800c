// What was asked of the models.

import { el } from "./dom.js";
import { last } from "./model.js";

export function show(main) {
  document.title = "Requests – herdsman";
  const place = el("section", {}, el("h1", {}, "Last requests"));
  main.replaceChildren(place);
  const gone = new AbortController();
  const look = () => last(null, place, gone.signal, 200);
  look();
  const clock = setInterval(look, 2000);
  return () => {
    clearInterval(clock);
    gone.abort();
  };
}
