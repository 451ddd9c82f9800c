// Is there room: memory of the machine and of each server, binaries, disks.

import { el, modelLink, swap, table } from "./dom.js";
import { bytes } from "./format.js";
import { ask, failure, models } from "./live.js";

/** How often it is looked at, ms. */
const LOOK = 5000;

export function show(main) {
  document.title = "Machine – herdsman";
  const place = el("div", { class: "cards" }, el("p", { class: "soft" }, "Looking …"));
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Machine")), place);
  const gone = new AbortController();
  let shown = null;

  async function look() {
    try {
      const { body } = await ask("api/machine", { signal: gone.signal });
      const servers = [...models.values()].filter((model) => model.memory).sort((a, b) => b.memory - a.memory);
      const now = JSON.stringify([body, servers.map(({ name, memory }) => [name, memory])]);
      if (now === shown) return;
      shown = now;
      swap(place, memory(body.memory, servers), devices(body.devices), disks(body.disks), binaries(body.binaries));
    } catch (error) {
      shown = null;
      if (!gone.signal.aborted) place.replaceChildren(failure(error));
    }
  }

  look();
  const clock = setInterval(look, LOOK);
  return () => {
    clearInterval(clock);
    gone.abort();
  };
}

/** How full something is, in parts `[name, bytes, class]`. */
function meter(total, parts, text) {
  const spans = parts.map(([name, size, kind]) => {
    const part = el("span", { class: kind, title: `${name}: ${bytes(size)}` });
    part.style.width = `${((size / total) * 100).toFixed(2)}%`;
    return part;
  });
  return el("div", { class: "meter", role: "img", "aria-label": text }, spans);
}

function memory(memory, servers) {
  if (!memory) return el("section", { class: "card wide" }, el("h2", {}, "Memory"), el("p", { class: "soft" }, "The system does not say how much memory there is."));
  const used = memory.total - memory.available;
  const ours = servers.reduce((sum, model) => sum + model.memory, 0);
  const others = Math.max(0, used - ours);
  const parts = [...servers.map((model) => [model.name, model.memory, null]), ["other programs", others, "others"]];
  return el(
    "section",
    { class: "card wide" },
    el("h2", {}, "Memory"),
    el("p", {}, `${bytes(memory.available)} of ${bytes(memory.total)} available; servers use ${bytes(ours)}, other programs ${bytes(others)}`),
    meter(memory.total, parts, `${bytes(used)} of ${bytes(memory.total)} used`),
    table(["Model", "Resident memory"], servers.map((model) => el("tr", {}, el("td", {}, modelLink(model.name)), el("td", {}, bytes(model.memory)))), "No server runs.", { class: "scroll scroll-x", "aria-label": "Memory of servers" }),
  );
}

function devices(devices) {
  const list = devices.map((device) => el("li", {}, device.name));
  return el("section", { class: "card" }, el("h2", {}, "Devices"), list.length ? el("ul", { class: "plain" }, list) : el("p", { class: "soft" }, "No devices known. herdsman does not measure the memory of GPUs yet."));
}

function disks(disks) {
  const WHAT = { state: "State", logs: "Logs", weights: "Weights" };
  const list = disks.map(({ what, path, used, free, total }) =>
    el(
      "div",
      { class: "disk" },
      el("p", {}, WHAT[what] ?? what, el("span", { class: "soft" }, ` ${path}`)),
      meter(total, [["used", total - free, null]], `${what}: ${bytes(free)} of ${bytes(total)} free`),
      el("p", { class: "soft" }, used !== null && `${bytes(used)} in this folder; `, `${bytes(free)} of ${bytes(total)} free on its file system`),
    ),
  );
  return el("section", { class: "card" }, el("h2", {}, "Disks"), list);
}

function binaries(binaries) {
  const rows = binaries.map(({ path, build, is_replaced, models }) =>
    el(
      "tr",
      {},
      el("td", { class: "nowrap" }, build ?? "not known yet"),
      el("td", {}, path, is_replaced && el("p", { class: "bad" }, "replaced on disk since it was started; restart with --upgrade-binary")),
      el("td", {}, models.map((name, at) => [at > 0 && ", ", modelLink(name)]).flat()),
    ),
  );
  return el("section", { class: "card wide" }, el("h2", {}, "llama-server"), table(["Build", "File", "Models"], rows, "No server runs.", { "aria-label": "llama-server binaries" }));
}
