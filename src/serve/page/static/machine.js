// Is there room: memory of the machine and of each server, binaries, disks.

import { el } from "./dom.js";
import { bytes } from "./format.js";
import { ask, failure, follow, models } from "./live.js";

export function show(main) {
  document.title = "Machine – herdsman";
  const place = el("div", { class: "cards" });
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Machine")), place);
  const gone = new AbortController();

  async function look() {
    try {
      const { body } = await ask("api/machine", { signal: gone.signal });
      place.replaceChildren(...sections(body));
    } catch (error) {
      if (!gone.signal.aborted) place.replaceChildren(failure(error));
    }
  }

  look();
  const clock = setInterval(look, 5000);
  const end = follow(() => {});
  return () => {
    end();
    clearInterval(clock);
    gone.abort();
  };
}

function sections({ memory, disks, binaries, devices }) {
  const running = [...models.values()].filter((model) => model.memory).sort((a, b) => b.memory - a.memory);
  if (!memory) return [el("p", { class: "empty" }, "The system does not say how much memory there is.")];
  const used = memory.total - memory.available;
  const share = (part) => `width:${((part / memory.total) * 100).toFixed(2)}%`;
  const bar = el("div", { class: "meter", role: "img", "aria-label": `${bytes(used)} of ${bytes(memory.total)} used` });
  for (const model of running) {
    const part = el("span", { title: `${model.name}: ${bytes(model.memory)}` });
    part.style.cssText = share(model.memory);
    bar.append(part);
  }
  const others = el("span", { class: "others", title: `other programs: ${bytes(Math.max(0, used - running.reduce((sum, model) => sum + model.memory, 0)))}` });
  others.style.cssText = share(Math.max(0, used - running.reduce((sum, model) => sum + model.memory, 0)));
  bar.append(others);
  return [
    el("section", { class: "card wide" }, el("h2", {}, "Memory"),
      el("p", {}, `${bytes(memory.available)} of ${bytes(memory.total)} available`), bar,
      running.length
        ? el("table", {}, el("tbody", {}, running.map((model) =>
            el("tr", {}, el("td", {}, el("a", { href: `#/models/${encodeURIComponent(model.name)}` }, model.name)), el("td", { class: "number" }, bytes(model.memory))))))
        : el("p", { class: "soft" }, "No server runs.")),
    el("section", { class: "card" }, el("h2", {}, "Devices"),
      devices.length ? el("ul", { class: "plain" }, devices.map((device) => el("li", {}, device.name))) : el("p", { class: "soft" }, "Memory of devices, and what is reserved there, is not measured yet.")),
    el("section", { class: "card" }, el("h2", {}, "Disks"),
      el("table", {}, el("tbody", {}, disks.map((disk) =>
        el("tr", {}, el("td", {}, disk.what, el("p", { class: "soft" }, disk.path)), el("td", { class: "number" }, disk.used !== null && `${bytes(disk.used)} used, `, `${bytes(disk.free)} free`)))))),
    el("section", { class: "card wide" }, el("h2", {}, "llama-server"),
      binaries.length
        ? el("table", {}, el("tbody", {}, binaries.map((binary) =>
            el("tr", {}, el("td", {}, binary.path), el("td", {}, binary.is_replaced ? "replaced on disk since it was started" : ""), el("td", { class: "soft" }, binary.models.join(", "))))))
        : el("p", { class: "soft" }, "No server has run yet.")),
  ];
}
