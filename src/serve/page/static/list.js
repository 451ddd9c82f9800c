// All models: which run, which do not, and why.

import { buttons, verbs } from "./commands.js";
import { el, say } from "./dom.js";
import { bytes, since } from "./format.js";
import { follow, keyOf, models } from "./live.js";

/** The word for what a model does, and what its dot shows. */
export function statusOf(model) {
  if (model.byHand.some((byHand) => byHand.what === "suspended")) return ["suspended", `suspended (${model.status})`];
  if (model.status === "idle" && model.byHand.some((byHand) => byHand.what === "stopped")) return ["idle", "stopped"];
  if (model.isLastKnown) return [model.status, `${model.status} (last known)`];
  if (model.status === "idle" && model.desired === "on_demand") return ["idle", "on demand"];
  return [model.status, model.status];
}

export function generationOf(model) {
  if (!model.generation) return "";
  if (model.serving !== null && model.serving !== model.generation) return `${model.serving} → ${model.generation}`;
  return String(model.generation);
}

/** Why a model is not as it should be, or what is special about it. */
export function reasonOf(model) {
  if (!model.managed && !model.problem) return "not managed: a row of another program";
  return [...model.reasons, ...model.waitingFor].join("; ") || model.problem || "";
}

const ORDER = { error: 0, loading: 1, running: 2, idle: 3 };
const SORTS = {
  status: (a, b) => ORDER[a.status] - ORDER[b.status],
  name: () => 0,
  generation: (a, b) => a.generation - b.generation,
  requests: (a, b) => b.requests.inFlight + b.requests.waiting - a.requests.inFlight - a.requests.waiting,
  memory: (a, b) => (b.memory ?? 0) - (a.memory ?? 0),
  port: (a, b) => (a.instance?.port ?? 1e6) - (b.instance?.port ?? 1e6),
  uptime: (a, b) => (a.instance ? Date.parse(a.instance.startedAt) : 1e15) - (b.instance ? Date.parse(b.instance.startedAt) : 1e15),
};
const names = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => names.compare(a.name, b.name);

// The view outlives a look at something else.
const wanted = { text: "", status: "", sort: "name", isReversed: false };

export function show(main) {
  const rows = new Map();
  const summary = el("p", { class: "summary", role: "status" });
  const body = el("tbody", { class: "models" });
  const table = el("table", { class: "models" }, head(() => draw()), body);
  const empty = el("p", { class: "empty" });
  const search = el("input", { type: "search", placeholder: "Filter by name or reason", "aria-label": "Filter by name or reason", value: wanted.text });
  search.addEventListener("input", () => {
    wanted.text = search.value;
    draw();
  });
  const status = el(
    "select",
    { "aria-label": "Filter by status" },
    [["", "all"], ["running", "running"], ["loading", "loading"], ["idle", "idle"], ["error", "error"], ["out", "out of sync"]].map(([value, text]) =>
      el("option", { value, selected: value === wanted.status }, text),
    ),
  );
  status.addEventListener("change", () => {
    wanted.status = status.value;
    draw();
  });
  main.replaceChildren(
    el("div", { class: "bar" }, el("h1", {}, "Models"), summary, el("span", { class: "grow" }), search, status, el("a", { class: "button", href: "#/new" }, "New model")),
    table,
    empty,
  );

  function fits(model) {
    if (wanted.status === "out" ? model.inSync || !model.managed : wanted.status && model.status !== wanted.status) return false;
    const text = wanted.text.trim().toLowerCase();
    return !text || model.name.toLowerCase().includes(text) || reasonOf(model).toLowerCase().includes(text);
  }

  function draw() {
    const order = SORTS[wanted.sort];
    const shown = [...models.values()].filter(fits).sort((a, b) => order(a, b) || byName(a, b));
    if (wanted.isReversed) shown.reverse();
    for (const [key, row] of rows) {
      if (!models.has(key)) {
        row.element.remove();
        rows.delete(key);
      }
    }
    const elements = shown.map((model) => {
      const key = keyOf(model);
      if (!rows.has(key)) rows.set(key, new Row());
      rows.get(key).show(model);
      return rows.get(key).element;
    });
    // Rows that stay in place keep the keyboard focus.
    const now = body.children;
    if (elements.length !== now.length || elements.some((element, at) => element !== now[at])) body.replaceChildren(...elements);
    count();
    table.hidden = elements.length === 0;
    empty.hidden = elements.length > 0;
    empty.textContent = models.size
      ? "No model fits this filter."
      : "There are no models yet. Write one with “New model”, or put a definition into the models directory: it appears here at once.";
  }

  function count() {
    const all = [...models.values()];
    const of = (status) => all.filter((model) => model.status === status).length;
    const parts = [`${of("running")} of ${all.length} running`];
    if (of("loading")) parts.push(`${of("loading")} loading`);
    if (of("error")) parts.push(`${of("error")} failed`);
    say(summary, parts.join(", "));
  }

  function changed(keys, isAll) {
    const isSorted = wanted.sort !== "name" || wanted.text || wanted.status;
    if (isAll || isSorted) return draw();
    for (const key of keys) rows.get(key)?.show(models.get(key));
    count();
  }

  draw();
  const end = follow(changed);
  const clock = setInterval(() => rows.forEach((row) => row.tick()), 5000);
  return () => {
    end();
    clearInterval(clock);
  };
}

function head(draw) {
  const columns = [
    ["status", "Status", ""],
    ["name", "Model", ""],
    ["generation", "Generation", "number"],
    ["requests", "Requests", "number"],
    ["memory", "Memory", "number"],
    ["port", "Port", "number"],
    ["uptime", "Up for", "number"],
  ];
  const cells = columns.map(([sort, text, kind]) => {
    const cell = el("th", { scope: "col", class: kind || null });
    const mark = () =>
      cell.setAttribute("aria-sort", wanted.sort !== sort ? "none" : wanted.isReversed ? "descending" : "ascending");
    cell.append(
      el("button", {
        type: "button",
        onclick: () => {
          wanted.isReversed = wanted.sort === sort && !wanted.isReversed;
          wanted.sort = sort;
          cells.forEach((cell) => cell.mark());
          draw();
        },
      }, text),
    );
    cell.mark = mark;
    mark();
    return cell;
  });
  return el("thead", {}, el("tr", {}, cells, el("th", { scope: "col", class: "number" }, "Actions")));
}

class Row {
  constructor() {
    this.dot = el("span", { class: "dot", "aria-hidden": "true" });
    this.word = el("span");
    this.status = el("span", { class: "status" }, this.dot, this.word);
    this.link = el("a", { href: "#/" });
    this.reason = el("p", { class: "reason clamp" });
    const number = (label) => el("td", { class: "number", "data-label": label });
    [this.generation, this.requests, this.memory, this.port, this.uptime] = ["generation", "requests", "memory", "port", "up for"].map(number);
    this.actions = el("div", { class: "actions" });
    this.element = el(
      "tr",
      {},
      el("td", {}, this.status),
      el("td", { class: "name" }, this.link, this.reason),
      this.generation,
      this.requests,
      this.memory,
      this.port,
      this.uptime,
      el("td", { class: "act" }, this.actions),
    );
  }

  show(model) {
    if (this.model === model) return;
    this.model = model;
    const [kind, word] = statusOf(model);
    this.status.dataset.status = kind;
    say(this.word, word);
    say(this.link, model.name);
    this.link.href = `#/models/${encodeURIComponent(model.name)}`;
    const reason = reasonOf(model);
    say(this.reason, reason);
    this.reason.title = reason;
    this.reason.hidden = !reason;
    this.reason.classList.toggle("bad", model.status === "error" || Boolean(model.problem));
    say(this.generation, generationOf(model));
    const { inFlight, waiting } = model.requests;
    say(this.requests, inFlight || waiting ? `${inFlight}${waiting ? ` + ${waiting} waiting` : ""}` : "");
    say(this.memory, bytes(model.memory));
    say(this.port, model.instance?.port ? String(model.instance.port) : "");
    const offered = verbs(model).slice(0, 2);
    if (this.offered !== offered.join()) {
      this.offered = offered.join();
      this.actions.replaceChildren(...buttons(model, offered));
    }
    this.tick();
  }

  tick() {
    say(this.uptime, since(this.model.instance?.startedAt));
  }
}
