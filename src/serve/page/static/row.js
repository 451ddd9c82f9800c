// One model in the list.

import { buttons, verbs } from "./commands.js";
import { el, say, swap } from "./dom.js";
import { bytes, rate, since } from "./format.js";
import { generationOf, isBad, reasonOf, statusOf } from "./words.js";

/** The columns: how they are sorted, their head, and whether they hold numbers. */
export const COLUMNS = [
  ["status", "Status", false],
  ["name", "Model", false],
  ["generation", "Generation", true],
  ["requests", "Requests", true],
  ["speed", "Tokens/s", true],
  ["memory", "Memory", true],
  ["port", "Port", true],
  ["uptime", "Up for", true],
];

// Roles are said: a table that is laid out as a grid keeps them nowhere else.
const cell = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
const number = (name, label) => el("td", { role: "cell", class: `number ${name}`, "data-label": label });

export class Row {
  constructor() {
    this.word = el("span");
    this.status = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), this.word);
    this.link = el("a", { href: "#/" });
    this.reason = cell("reason");
    this.numbers = Object.fromEntries(COLUMNS.filter(([, , isNumber]) => isNumber).map(([name, label]) => [name, number(name, label.toLowerCase())]));
    this.actions = el("div", { class: "actions" });
    this.element = el(
      "tr",
      { role: "row" },
      cell("state", this.status),
      cell("name", this.link),
      Object.values(this.numbers),
      cell("act", this.actions),
      this.reason,
    );
  }

  /** Shows a model; a part that is the same costs nothing. */
  show(model) {
    if (this.model === model) return;
    this.model = model;
    const [kind, word] = statusOf(model);
    if (this.status.dataset.status !== kind) this.status.dataset.status = kind;
    say(this.word, word);
    if (this.name !== model.name) {
      this.name = model.name;
      say(this.link, model.name);
      this.link.title = model.name;
      this.link.href = `#/models/${encodeURIComponent(model.name)}`;
    }
    this.explain(model);
    const { inFlight, waiting, tokensPerSecond } = model.requests;
    say(this.numbers.generation, generationOf(model));
    say(this.numbers.requests, waiting ? `${inFlight} + ${waiting} waiting` : inFlight ? String(inFlight) : "");
    say(this.numbers.speed, rate(tokensPerSecond));
    say(this.numbers.memory, bytes(model.memory));
    say(this.numbers.port, model.instance?.port ? String(model.instance.port) : "");
    this.tick();
    const offered = verbs(model).slice(0, 2);
    if (this.offered !== offered.join()) {
      this.offered = offered.join();
      swap(this.actions, ...buttons(model, offered));
    }
  }

  explain(model) {
    const reason = reasonOf(model);
    if (reason !== this.said) {
      this.said = reason;
      say(this.reason, reason);
      this.reason.title = reason;
    }
    this.reason.classList.toggle("bad", isBad(model));
  }

  tick() {
    say(this.numbers.uptime, since(this.model.instance?.startedAt));
  }
}
