// The last requests, of one model or of all.

import { el, modelLink, swap, table } from "./dom.js";
import { rate, seconds, when } from "./format.js";
import { ask, failure } from "./live.js";

/** Fills `place` with the last requests of `name`, or of all models. */
export async function fill(place, name, signal, limit = 20) {
  const query = name ? `model=${encodeURIComponent(name)}&` : "";
  try {
    const { body } = await ask(`api/activity?${query}limit=${limit}`, { signal });
    const text = JSON.stringify(body);
    // What is read or selected stays as long as it is the same.
    if (place.dataset.shown === text) return;
    place.dataset.shown = text;
    const head = ["When", !name && "Model", "Request", "Status", "First byte", "Took", "Tokens", "Key"].filter(Boolean);
    swap(place, table(head, body.requests.map((request) => row(request, !name)), "Nobody has asked since herdsman began to serve.", { class: "scroll-x stacks", "aria-label": "Last requests" }));
  } catch (error) {
    if (signal.aborted) return;
    delete place.dataset.shown;
    place.replaceChildren(failure(error));
  }
}

function row(request, namesModel) {
  const isBad = request.status >= 400 || request.end === "broken";
  return el(
    "tr",
    {},
    el("td", { class: "soft nowrap" }, when(request.at)),
    namesModel && el("td", {}, request.model && modelLink(request.model)),
    el("td", {}, request.request),
    el("td", { class: isBad ? "bad" : null }, outcome(request)),
    el("td", { class: "number" }, seconds(request.firstByte)),
    el("td", { class: "number" }, seconds(request.duration)),
    el("td", { class: "number" }, tokens(request)),
    el("td", {}, request.key ?? ""),
  );
}

function outcome({ status, end }) {
  if (!status) return "client left";
  return end === "complete" ? String(status) : `${status}, ${end === "broken" ? "broken" : "client left"}`;
}

function tokens({ promptTokens, completionTokens, tokensPerSecond }) {
  if (completionTokens === null) return "";
  return `${promptTokens ?? "?"} → ${completionTokens}${tokensPerSecond ? `, ${rate(tokensPerSecond)}/s` : ""}`;
}
