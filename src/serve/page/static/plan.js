// What the next pass would do, and why.

import { el, toast } from "./dom.js";
import { ask, failure, follow } from "./live.js";
import { question } from "./question.js";

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
      place.replaceChildren(...sections(body, { apply }));
    } catch (error) {
      if (!gone.signal.aborted) place.replaceChildren(failure(error));
    }
    again.disabled = false;
  }

  /** Gives the permission that the plan waits for. */
  async function apply(guard) {
    const count = `${guard.deletions.length} ${guard.deletions.length === 1 ? "model" : "models"}`;
    const meaning = `Their servers are stopped once their requests in flight are finished: ${guard.deletions.join(", ")}`;
    if (!(await question(`Delete ${count}?`, meaning, "Apply"))) return;
    try {
      const { body } = await ask("api/reconcile?wait=60s", { method: "POST", body: JSON.stringify({ max_deletes: guard.deletions.length }) });
      const done = body.actions.filter(({ action, outcome }) => action === "delete" && outcome === "done").length;
      toast(body.guard ? `Still held back: ${body.words.guard}` : `Deleted ${done} of ${count}`, Boolean(body.guard));
    } catch (error) {
      toast(error.message, true);
    }
    look();
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

/** What a plan says. `apply`: what a click does where it waits for permission;
 * `isPreview`: what is wrong is said elsewhere. */
export function sections(plan, { apply = null, isPreview = false }) {
  const link = (name) => el("a", { href: `#/models/${encodeURIComponent(name)}` }, name);
  const all = [];
  if (plan.guard) {
    all.push(
      el("div", { class: "diagnostic error" }, el("p", {}, `Held back: ${plan.words.guard}`),
        apply && el("button", { type: "button", onclick: () => apply(plan.guard) }, "Apply")),
    );
  }
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
  if (plan.diagnostics.length && !isPreview) {
    all.push(
      el("section", { class: "card wide" }, el("h2", {}, "Problems of the definitions"),
        plan.diagnostics.map(({ severity, file, line, message, help }) =>
          el("div", { class: `diagnostic ${severity}` }, el("p", {}, `${file}${line ? `:${line}` : ""}: ${message}`), help && el("p", { class: "soft" }, help)))),
    );
  }
  return all;
}
