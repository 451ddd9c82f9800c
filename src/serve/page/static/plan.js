// What the next pass would do, and why.

import { el } from "./dom.js";
import { ask, failure, follow } from "./live.js";

export function show(main) {
  document.title = "Plan – herdsman";
  const place = el("div", { class: "stack" });
  const again = el("button", { type: "button", onclick: () => look() }, "Look again");
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Plan"), el("p", { class: "summary" }, "what the next pass would do"), el("span", { class: "grow" }), again), place);
  const gone = new AbortController();
  let timer = null;

  async function look() {
    again.disabled = true;
    try {
      const { body } = await ask("api/plan", { signal: gone.signal });
      place.replaceChildren(...sections(body));
    } catch (error) {
      if (!gone.signal.aborted) place.replaceChildren(failure(error));
    }
    again.disabled = false;
  }

  look();
  const end = follow(() => {
    // A look takes a moment: not one for each of many changes.
    timer ??= setTimeout(() => {
      timer = null;
      look();
    }, 1000);
  });
  return () => {
    end();
    clearTimeout(timer);
    gone.abort();
  };
}

function sections(plan) {
  const link = (name) => el("a", { href: `#/models/${encodeURIComponent(name)}` }, name);
  const all = [];
  if (plan.guard) all.push(el("p", { class: "diagnostic error" }, `Held back: ${plan.words.guard}`));
  if (plan.actions.length) {
    all.push(
      el("section", { class: "card wide" }, el("h2", {}, "Actions"),
        el("table", {}, el("tbody", {}, plan.actions.map((action) =>
          el("tr", {}, el("td", {}, action.action), el("td", {}, link(action.model)), el("td", {}, plan.words.reasons[action.model]?.join("; ") ?? "")))))),
    );
  } else {
    all.push(el("p", { class: "empty" }, `Nothing is to be done: ${plan.matching} ${plan.matching === 1 ? "model matches its definition" : "models match their definitions"}.`));
  }
  if (Object.keys(plan.words.waiting).length) {
    all.push(
      el("section", { class: "card wide" }, el("h2", {}, "Waiting"),
        el("table", {}, el("tbody", {}, Object.entries(plan.words.waiting).map(([model, waits]) => el("tr", {}, el("td", {}, link(model)), el("td", {}, waits.map((wait) => el("p", {}, wait)))))))),
    );
  }
  if (plan.diagnostics.length) {
    all.push(
      el("section", { class: "card wide" }, el("h2", {}, "Problems of the definitions"),
        plan.diagnostics.map(({ severity, file, line, message, help }) =>
          el("div", { class: `diagnostic ${severity}` }, el("p", {}, `${file}${line ? `:${line}` : ""}: ${message}`), help && el("p", { class: "soft" }, help)))),
    );
  }
  return all;
}
