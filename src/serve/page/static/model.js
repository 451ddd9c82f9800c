// One model: why it is as it is, what happened to it, what it says, and a box to try it.

import { buttons } from "./commands.js";
import { el, say } from "./dom.js";
import { bytes, seconds, since, when } from "./format.js";
import { generationOf, reasonOf, statusOf } from "./list.js";
import { ask, failure, follow, named } from "./live.js";
import { show as tryBox } from "./try.js";
import { show as definition } from "./definition.js";

export function show(main, name) {
  document.title = `${name} – herdsman`;
  const path = `api/models/${encodeURIComponent(name)}`;
  const word = el("span");
  const status = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), word);
  const actions = el("div", { class: "actions" });
  const facts = el("dl");
  const reasons = el("div");
  const why = el("section", { class: "card" }, el("h2", {}, "Why"), reasons);
  const history = el("section", { class: "card wide" }, el("h2", {}, "History"));
  const log = el("pre", { class: "scroll", role: "log", tabindex: "0", "aria-label": "Log" });
  const requests = el("section", { class: "card wide" }, el("h2", {}, "Last requests"));
  const gone = new AbortController();
  const defined = definition(name, gone.signal);

  main.replaceChildren(
    el(
      "div",
      { class: "bar" },
      el("a", { href: "#/", class: "button" }, "← Models"),
      el("h1", {}, name),
      status,
      el("span", { class: "grow" }),
      el("a", { class: "button", href: `chat/?model=${encodeURIComponent(name)}` }, "Chat"),
      actions,
    ),
    el(
      "div",
      { class: "cards" },
      el("section", { class: "card" }, el("h2", {}, "Now"), facts),
      why,
      defined.place,
      tryBox(name, gone.signal),
      el("section", { class: "card wide" }, el("h2", {}, "Log"), log),
      requests,
      history,
    ),
  );

  let before = null;
  function draw() {
    const model = named(name);
    if (model === before && model) return tick(model);
    const isOther = !before || !model || before.generation !== model.generation || before.status !== model.status;
    const isDefinedAnew = isOther || before.file !== model.file || before.problem !== model.problem;
    before = model;
    if (!model) {
      say(word, "there is no model of this name");
      actions.replaceChildren();
      facts.replaceChildren();
      return;
    }
    const [kind, text] = statusOf(model);
    status.dataset.status = kind;
    say(word, text);
    actions.replaceChildren(...buttons(model));
    reasons.replaceChildren(...explain(model));
    tick(model);
    if (isDefinedAnew) defined.draw();
    if (isOther) {
      past(path, history, gone.signal);
      last(name, requests, gone.signal);
    }
  }

  function tick(model) {
    const { instance, requests } = model;
    const rows = [
      ["Wanted", model.desired ? model.desired.replace("_", " ") : "no definition"],
      ["Generation", generationOf(model)],
      ["Address", instance?.url && el("a", { href: `upstream/${encodeURIComponent(name)}/` }, instance.url)],
      ["Process", instance && String(instance.pid)],
      ["Up for", since(instance?.startedAt)],
      ["Memory", bytes(model.memory)],
      ["Requests", `${requests.inFlight} in flight, ${requests.waiting} waiting`],
      ["Last used", requests.lastUsed && `${since(requests.lastUsed)} ago`],
      ["Other names", model.aliases.join(", ")],
      ["Crashes in a row", model.crashes ? String(model.crashes) : null],
      ["Id", model.id],
    ];
    const filled = rows.filter(([, value]) => value);
    facts.replaceChildren(...filled.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
  }

  draw();
  const end = follow(draw);
  const clock = setInterval(() => {
    const model = named(name);
    if (model) tick(model);
    last(name, requests, gone.signal);
  }, 5000);
  tail(path, log, gone.signal);
  return () => {
    end();
    clearInterval(clock);
    gone.abort();
  };
}

function explain(model) {
  const items = [...model.reasons, ...model.waitingFor];
  if (model.problem) items.unshift(model.problem);
  if (model.lastFailure) items.push(`last failure: ${model.lastFailure}`);
  if (model.nextTry) items.push(`tried again at ${when(model.nextTry)}`);
  const isFine = items.length === 0;
  return [
    isFine
      ? el("p", {}, model.inSync ? "It is as its definition says." : reasonOf(model) || "Nothing is to be done.")
      : el("ul", { class: "plain" }, [...new Set(items)].map((item) => el("li", {}, item))),
    ...model.byHand.map((byHand) =>
      el("p", { class: "soft" }, `${byHand.what} by ${byHand.by}, ${when(byHand.at)}${byHand.reason ? `: ${byHand.reason}` : ""}`),
    ),
  ];
}

async function past(path, place, signal) {
  try {
    const { body } = await ask(`${path}/history`, { signal });
    const events = body.events.map((event) =>
      el(
        "tr",
        {},
        el("td", { class: "soft" }, when(event.at)),
        el("td", {}, event.event.replaceAll("_", " ")),
        el("td", { class: "number" }, event.generation ? String(event.generation) : ""),
        el("td", {}, event.failure ? el("span", { class: "bad" }, event.failure) : texts(event.reasons), event.commit?.subject && el("p", { class: "soft" }, event.commit.subject)),
      ),
    );
    const head = ["When", "What", "Generation", "Why"].map((text) => el("th", { scope: "col" }, text));
    place.replaceChildren(
      el("h2", {}, "History"),
      events.length
        ? el("div", { class: "scroll scroll-x" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, events)))
        : el("p", { class: "soft" }, "Nothing has happened yet."),
    );
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(el("h2", {}, "History"), failure(error));
  }
}

/** Reasons of the history are texts or objects, by their kind. */
function texts(reasons) {
  const of = (reason) => (typeof reason === "string" ? reason : reason.text ?? reason.message ?? Object.values(reason).filter((value) => typeof value === "string" || typeof value === "number").join(" "));
  return (Array.isArray(reasons) ? reasons : [reasons]).filter(Boolean).map(of).join("; ");
}

export async function last(name, place, signal, limit = 20) {
  try {
    const query = name ? `model=${encodeURIComponent(name)}&` : "";
    const { body } = await ask(`api/activity?${query}limit=${limit}`, { signal });
    const head = ["When", !name && "Model", "Request", "Status", "First byte", "Took", "Tokens", "Key"].filter(Boolean);
    const rows = body.requests.map((request) =>
      el(
        "tr",
        {},
        el("td", { class: "soft" }, when(request.at)),
        !name && el("td", {}, request.model && el("a", { href: `#/models/${encodeURIComponent(request.model)}` }, request.model)),
        el("td", {}, request.request),
        el("td", { class: request.status >= 400 || request.end === "broken" ? "bad" : null }, request.status ? String(request.status) : "client left", request.end === "broken" ? ", broken" : ""),
        el("td", { class: "number" }, seconds(request.firstByte)),
        el("td", { class: "number" }, seconds(request.duration)),
        el("td", { class: "number" }, tokens(request)),
        el("td", {}, request.key ?? ""),
      ),
    );
    const title = place.querySelector("h2, h1");
    const table = rows.length
      ? el("div", { class: "scroll-x" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows)))
      : el("p", { class: "soft" }, "Nobody has asked since herdsman began to serve.");
    place.replaceChildren(title, table);
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(place.querySelector("h2, h1"), failure(error));
  }
}

function tokens({ promptTokens, completionTokens, duration, firstByte }) {
  if (completionTokens === null) return "";
  const time = duration - (firstByte ?? 0);
  const rate = time > 0.05 && completionTokens > 1 ? `, ${Math.round(completionTokens / time)}/s` : "";
  return `${promptTokens ?? "?"} → ${completionTokens}${rate}`;
}

const MOST = 200000;

async function tail(path, place, signal) {
  while (!signal.aborted) {
    try {
      const response = await fetch(new URL(`${path}/logs?lines=200&follow=true`, document.baseURI), { signal });
      if (!response.ok) {
        const problem = await response.json();
        place.textContent = problem.detail;
        return;
      }
      place.textContent = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
        place.append(value);
        if (place.textContent.length > MOST) place.textContent = place.textContent.slice(-MOST / 2);
        if (isAtEnd) place.scrollTop = place.scrollHeight;
      }
    } catch {
      // The connection is lost; its loss is said above.
    }
    if (!signal.aborted) await new Promise((wake) => setTimeout(wake, 2000));
  }
}
