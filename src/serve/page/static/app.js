// Shows the view that the address names.

import { announce } from "./announce.js";
import { el } from "./dom.js";
import { show as showList } from "./list.js";
import { connect, failure } from "./live.js";
import { question } from "./question.js";
import { learn } from "./rights.js";

const main = document.getElementById("main");
let end = () => {};
let shown = null;

const VIEWS = [
  [/^#\/models\/([^/]+)$/, () => import("./model.js")],
  [/^#\/plan$/, () => import("./plan.js")],
  [/^#\/machine$/, () => import("./machine.js")],
  [/^#\/edit\/([^/]+)$/, () => import("./edit.js")],
  [/^#\/new$/, () => import("./edit.js")],
  [/^#\/requests$/, () => import("./requests.js")],
];

/** A part of the address; one that somebody mistyped is as it is. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function route() {
  const address = location.hash || "#/";
  shown = address;
  end();
  end = () => {};
  for (const link of document.querySelectorAll("nav a")) {
    const href = link.getAttribute("href");
    const isHere = href === address || (href === "#/" && /^#\/(models|edit|new)/.test(address));
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const [pattern, load] of VIEWS) {
    const match = address.match(pattern);
    if (!match) continue;
    try {
      const { show } = await load();
      // Somebody may have gone on while it loaded.
      if (shown === address) end = show(main, ...match.slice(1).map(decoded));
    } catch (error) {
      if (shown === address) main.replaceChildren(failure(error), again());
    }
    return;
  }
  document.title = "herdsman";
  end = showList(main);
}

/** Not by itself: what is typed elsewhere on the page would be lost. */
const again = () => el("button", { type: "button", onclick: () => location.reload() }, "Load the page again");

addEventListener("hashchange", async () => {
  if (end.asks?.()) {
    const wanted = location.hash;
    history.replaceState(null, "", shown);
    const leaves = await question("Discard what you typed?", "It is not saved.", "Discard");
    if (leaves) {
      end.asks = null;
      location.hash = wanted;
    }
    return;
  }
  scrollTo(0, 0);
  route();
  main.focus({ preventScroll: true });
});
// The part after # names the view, which stays.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
route();
announce(document.getElementById("changes"));
connect(learn);
