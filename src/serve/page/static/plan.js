// What the next pass would do, and why.

import { diagnostic } from "./diagnostics.js";
import { el, modelLink, swap, toast } from "./dom.js";
import { ask, failure, follow } from "./live.js";
import { question } from "./question.js";

/** A look takes a moment: changes that come within this time share one, ms. */
const PAUSE = 1000;

export function show(main) {
  document.title = "Plan – herdsman";
  const place = el("div", { class: "stack" });
  const again = el("button", { type: "button", onclick: () => look() }, "Look again");
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Plan"), el("p", { class: "summary" }, "what the next pass would do"), el("span", { class: "grow" }), again), place);
  const gone = new AbortController();
  let [timer, looking, shown] = [null, null, null];

  /** Only the newest look counts. */
  async function look() {
    looking?.abort();
    const mine = new AbortController();
    looking = mine;
    again.disabled = true;
    try {
      const { body } = await ask("api/plan", { signal: AbortSignal.any([mine.signal, gone.signal]) });
      draw(body);
    } catch (error) {
      if (mine.signal.aborted || gone.signal.aborted) return;
      shown = null;
      swap(place, failure(error));
    }
    again.disabled = false;
  }

  /** What is read or has the focus stays as long as it is the same. */
  function draw(plan) {
    const text = JSON.stringify(plan);
    if (text === shown) return;
    shown = text;
    swap(place, ...sections(plan, { apply: (guard) => apply(guard, { draw, signal: gone.signal }).finally(look) }));
  }

  look();
  const end = follow(() => {
    timer ??= setTimeout(() => {
      timer = null;
      look();
    }, PAUSE);
  });
  return () => {
    end();
    clearTimeout(timer);
    gone.abort();
  };
}

/** Gives the permission that the plan waits for, if it still waits for the same one. */
async function apply(guard, { draw, signal }) {
  const count = `${guard.deletions.length} ${guard.deletions.length === 1 ? "model" : "models"}`;
  const meaning = `Their servers are stopped once their requests in flight are finished: ${guard.deletions.join(", ")}`;
  if (!(await question(`Delete ${count}?`, meaning, "Apply"))) return;
  try {
    // The permission is a number: it must not delete models that the question did not name.
    const { body: now } = await ask("api/plan", { signal });
    if (!isSame(now.guard, guard)) {
      draw(now);
      return toast("The plan has changed: nothing is deleted. Look at what it says now, and apply that.", true);
    }
    const { body } = await ask("api/reconcile?wait=60s", { method: "POST", body: JSON.stringify({ max_deletes: guard.deletions.length }) });
    const done = body.actions.filter(({ action, outcome }) => action === "delete" && outcome === "done").length;
    toast(body.guard ? `Still held back: ${body.words.guard}` : `Deleted ${done} of ${count}`, Boolean(body.guard));
  } catch (error) {
    if (!signal.aborted) toast(error.message, true);
  }
}

const isSame = (now, before) => Boolean(now) && [...now.deletions].sort().join("\n") === [...before.deletions].sort().join("\n");

/** What a plan says. `apply`: what a click does where it waits for permission;
 * `isPreview`: what is wrong is said elsewhere. */
export function sections(plan, { apply = null, isPreview = false }) {
  const all = [];
  if (plan.guard) {
    all.push(
      el("div", { class: "diagnostic error" }, el("p", {}, `Held back: ${plan.words.guard}`),
        apply && el("button", { type: "button", class: "needs-admin", onclick: () => apply(plan.guard) }, "Apply")),
    );
  }
  if (plan.actions.length) {
    const rows = plan.actions.map(({ action, model }) => el("tr", {}, el("td", {}, action), el("td", {}, modelLink(model)), el("td", {}, plan.words.reasons[model]?.join("; ") ?? "")));
    all.push(card("Actions", el("table", {}, el("tbody", {}, rows))));
  } else if (!plan.guard) {
    all.push(el("p", { class: "empty" }, `${plan.matching} ${plan.matching === 1 ? "model matches its definition" : "models match their definitions"}; nothing to do`));
  }
  const waiting = Object.entries(plan.words.waiting);
  if (waiting.length) {
    const rows = waiting.map(([model, waits]) => el("tr", {}, el("td", {}, modelLink(model)), el("td", {}, waits.map((wait) => el("p", {}, wait)))));
    all.push(card("Waiting", el("table", {}, el("tbody", {}, rows))));
  }
  if (plan.diagnostics.length && !isPreview) {
    all.push(card("Problems of the definitions", plan.diagnostics.map((flaw) => diagnostic(flaw, `${flaw.file}${flaw.line ? `:${flaw.line}` : ""}:`))));
  }
  return all;
}

const card = (title, ...children) => el("section", { class: "card wide" }, el("h2", {}, title), ...children);
