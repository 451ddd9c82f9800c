// One model: why it is as it is, what happened to it, what it says, and a box to try it.

import { fill as fillRequests } from "./activity.js";
import { buttons, verbs } from "./commands.js";
import { show as showDefinition } from "./definition.js";
import { el, say, swap } from "./dom.js";
import { fill as fillHistory } from "./history.js";
import { follow, isKnown, named } from "./live.js";
import { show as showLog } from "./log.js";
import { facts, why } from "./now.js";
import { show as showTryBox } from "./try.js";
import { statusOf } from "./words.js";

/** How often what is not said by itself is asked for, ms. */
const LOOK = 5000;

export function show(main, name) {
  document.title = `${name} – herdsman`;
  const path = `api/models/${encodeURIComponent(name)}`;
  const gone = new AbortController();
  const word = el("span");
  const status = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), word);
  const actions = el("div", { class: "actions" });
  const parts = { facts: facts(name), why: why(), definition: showDefinition(gone.signal) };
  const [requests, generations, events] = [el("div"), el("div"), el("div")];
  const wide = (title, place) => el("section", { class: "card wide" }, el("h2", {}, title), place);
  const past = [wide("Last requests", requests), wide("Generations", generations), wide("History", events)];
  const tryBox = showTryBox(name, gone.signal);
  const log = showLog(path, gone.signal);
  const cards = el(
    "div",
    { class: "cards", hidden: true },
    el("div", { class: "stack" }, parts.facts.element, tryBox),
    el("div", { class: "stack" }, parts.why.element, parts.definition.element),
    log.element,
    ...past,
  );
  const chat = el("a", { class: "button", href: `chat/?model=${encodeURIComponent(name)}` }, "Chat");
  const missing = el("p", { class: "empty" });
  main.replaceChildren(
    el(
      "div",
      { class: "bar" },
      el("a", { href: "#/", class: "button" }, "← Models"),
      el("h1", {}, name),
      status,
      el("span", { class: "grow" }),
      chat,
      actions,
    ),
    missing,
    cards,
  );

  let before = null;
  let offered = null;
  let isRead = false;
  function draw() {
    const model = named(name);
    status.hidden = cards.hidden = !model;
    for (const part of [chat, tryBox, log.element]) part.hidden = !model?.managed;
    for (const part of past) part.hidden = !isKept(model);
    missing.hidden = Boolean(model);
    if (!model) {
      before = null;
      offered = null;
      actions.replaceChildren();
      return say(missing, isKnown() ? "There is no model of this name." : "Waiting for herdsman.");
    }
    if (model === before) return;
    const isOther = !before || changes(before) !== changes(model);
    before = model;
    const [kind, text] = statusOf(model);
    status.dataset.status = kind;
    say(word, text);
    if (offered !== verbs(model).join()) {
      offered = verbs(model).join();
      swap(actions, ...buttons(model));
    }
    parts.facts.show(model);
    parts.why.show(model);
    if (isOther) look();
    if (model.managed && !isRead) {
      isRead = true;
      log.begin();
    }
  }

  async function look() {
    if (!isKept(named(name))) return parts.definition.draw(named(name), []);
    fillRequests(requests, name, gone.signal);
    const all = await fillHistory(path, generations, events, gone.signal);
    const model = named(name);
    if (model) parts.definition.draw(model, all);
  }

  draw();
  const end = follow(draw);
  const clock = setInterval(() => {
    const model = named(name);
    if (!model) return;
    parts.facts.show(model);
    if (isKept(model)) fillRequests(requests, name, gone.signal);
  }, LOOK);
  return () => {
    end();
    clearInterval(clock);
    gone.abort();
  };
}

/** Whether herdsman keeps a history of it. */
const isKept = (model) => Boolean(model?.managed || model?.file);

/** What changes when something happened that the history tells. */
const changes = ({ generation, status, instance, problem, byHand, reasons, updatedAt }) =>
  JSON.stringify([generation, status, instance?.id, problem, byHand, reasons, updatedAt]);
