// All models: which run, which do not, and why.

import { arrange, el, say } from "./dom.js";
import { follow, isKnown, keyOf, models } from "./live.js";
import { COLUMNS, Row } from "./row.js";
import { needsAttention, reasonOf } from "./words.js";

const STATUS = { error: 0, loading: 1, running: 2, idle: 3 };
/** So many new rows are made first, a screen of them, and then at once: what is seen first
 * is painted first. */
const FIRST = 30;
const AT_ONCE = 200;
const NEVER = Number.MAX_SAFE_INTEGER;
const started = ({ instance }) => (instance ? Date.parse(instance.startedAt) : NEVER);
/** Orders, the more interesting first; what is equal is in the order of names. */
const SORTS = {
  status: (a, b) => needsAttention(b) - needsAttention(a) || STATUS[a.status] - STATUS[b.status],
  name: () => 0,
  generation: (a, b) => b.generation - a.generation,
  requests: (a, b) => b.requests.inFlight + b.requests.waiting - a.requests.inFlight - a.requests.waiting,
  speed: (a, b) => (b.requests.tokensPerSecond ?? 0) - (a.requests.tokensPerSecond ?? 0),
  memory: (a, b) => (b.memory ?? 0) - (a.memory ?? 0),
  port: (a, b) => (a.instance?.port ?? NEVER) - (b.instance?.port ?? NEVER),
  uptime: (a, b) => started(a) - started(b),
};

/** What can be chosen, and what it counts. */
const CHOICES = {
  all: () => true,
  running: (model) => model.status === "running",
  loading: (model) => model.status === "loading",
  idle: (model) => model.status === "idle",
  error: (model) => model.status === "error",
  "needs attention": needsAttention,
};

// The view outlives a look at something else.
const wanted = { text: "", choice: "all", sort: "name", isReversed: false };
const names = new Intl.Collator(undefined, { numeric: true });

export function show(main) {
  const rows = new Map();
  let ranks = new Map();
  let more = null;
  const summary = el("p", { class: "summary" });
  const body = el("tbody", { role: "rowgroup", class: "models" });
  const table = el("table", { role: "table", class: "models", "aria-label": "Models" }, head(draw), body);
  const empty = el("p", { class: "empty" });
  const search = el("input", { type: "search", placeholder: "Filter by name or reason", "aria-label": "Filter by name or reason", value: wanted.text });
  search.addEventListener("input", () => {
    wanted.text = search.value;
    draw();
  });
  const choices = choose(draw);
  main.replaceChildren(
    el("div", { class: "bar" }, el("h1", {}, "Models"), summary, el("span", { class: "grow" }), choices.element, search, el("a", { class: "button needs-edit", href: "#/new" }, "New model")),
    table,
    empty,
  );

  function fits(model) {
    if (!CHOICES[wanted.choice](model)) return false;
    const text = wanted.text.trim().toLowerCase();
    return !text || [model.name, ...model.aliases, reasonOf(model)].some((part) => part.toLowerCase().includes(text));
  }

  /** Names are put in order when there are others, and not with every change. */
  function rank() {
    const sorted = [...models.values()].sort((a, b) => names.compare(a.name, b.name));
    ranks = new Map(sorted.map((model, at) => [keyOf(model), at]));
    for (const key of rows.keys()) if (!models.has(key)) rows.delete(key);
  }

  function draw() {
    const order = SORTS[wanted.sort];
    const shown = [...models.values()].filter(fits).sort((a, b) => order(a, b) || ranks.get(keyOf(a)) - ranks.get(keyOf(b)));
    if (wanted.isReversed) shown.reverse();
    const elements = [];
    let made = 0;
    const most = rows.size ? AT_ONCE : FIRST;
    for (const model of shown) {
      const key = keyOf(model);
      if (!rows.has(key)) {
        made += 1;
        if (made > most) break;
        rows.set(key, new Row());
      }
      const row = rows.get(key);
      row.show(model);
      elements.push(row.element);
    }
    arrange(body, elements);
    if (made > most) more ??= setTimeout(() => ((more = null), draw()));
    count();
    table.hidden = elements.length === 0;
    empty.hidden = elements.length > 0;
    say(empty, emptiness());
  }

  function count() {
    const all = [...models.values()];
    choices.element.hidden = search.hidden = !models.size;
    say(summary, models.size ? `${all.filter(CHOICES.running).length} of ${all.length} running` : "");
    choices.count(all);
  }

  function changed(keys, isAll) {
    if (isAll) rank();
    if (isAll || wanted.sort !== "name" || wanted.text || wanted.choice !== "all") return draw();
    for (const key of keys) rows.get(key)?.show(models.get(key));
    count();
  }

  rank();
  draw();
  const end = follow(changed);
  const clock = setInterval(() => rows.forEach((row) => row.tick()), 5000);
  return () => {
    end();
    clearInterval(clock);
    clearTimeout(more);
  };
}

function emptiness() {
  if (!isKnown()) return "Waiting for herdsman.";
  if (models.size) return "No model fits this filter.";
  return "There are no models yet. Write one with “New model”, or put a definition into the models directory: it appears here at once.";
}

/** Buttons with how many models each of them shows. */
function choose(draw) {
  const all = Object.keys(CHOICES).map((name) => {
    const button = el("button", { type: "button", class: "choice", "data-choice": name, onclick: () => pick(name) }, name, " ", el("span", { class: "count" }));
    return [name, button, button.querySelector(".count")];
  });
  function pick(name) {
    wanted.choice = wanted.choice === name ? "all" : name;
    draw();
  }
  return {
    element: el("div", { class: "choices", role: "group", "aria-label": "Filter by status" }, all.map(([, button]) => button)),
    count(models) {
      for (const [name, button, number] of all) {
        const many = models.filter(CHOICES[name]).length;
        say(number, String(many));
        button.hidden = many === 0 && name !== "all" && name !== wanted.choice;
        button.setAttribute("aria-pressed", String(name === wanted.choice));
      }
    },
  };
}

/** The heads, which sort. */
function head(draw) {
  const cells = COLUMNS.map(([sort, text, isNumber]) => {
    const cell = el("th", { role: "columnheader", scope: "col", class: isNumber ? `number ${sort}` : null });
    cell.append(el("button", { type: "button", onclick: () => pick(sort) }, text));
    return [sort, cell];
  });
  const mark = () => {
    for (const [sort, cell] of cells) cell.setAttribute("aria-sort", wanted.sort !== sort ? "none" : wanted.isReversed ? "descending" : "ascending");
  };
  function pick(sort) {
    wanted.isReversed = wanted.sort === sort && !wanted.isReversed;
    wanted.sort = sort;
    mark();
    draw();
  }
  mark();
  const more = (text, kind) => el("th", { role: "columnheader", scope: "col", class: kind }, text);
  return el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, cells.map(([, cell]) => cell), more("Actions", "number"), more("Why", "unseen")));
}
