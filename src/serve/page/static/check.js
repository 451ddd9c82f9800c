// What the text would do and what is wrong with it, asked while somebody types.

import { diagnostic } from "./diagnostics.js";
import { el } from "./dom.js";
import { failure, isPassing } from "./live.js";
import { sections } from "./plan.js";

/** How long nobody types before the text is checked, ms. */
const PAUSE = 350;
/** How long to wait after a check that got no answer, ms. */
const RETRY = 3000;

export class Check {
  /** Whether the text has errors: it cannot be saved. */
  hasErrors = false;
  flaws = el("div", { role: "status", "aria-label": "Problems" });
  plan = el("div", { class: "stack" });
  #timer = null;
  #looking = null;

  /** `isWanted()`: whether there is something to check now. `onend(error)`: after each check. */
  constructor(draft, code, { isWanted, onend }) {
    Object.assign(this, { draft, code, isWanted, onend });
  }

  /** Checks the text once nobody types. */
  soon(pause = PAUSE) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.now(), pause);
  }

  /** Ends what is under way. */
  stop() {
    clearTimeout(this.#timer);
    this.#looking?.abort();
    this.#looking = null;
  }

  /** Only the answer to the newest text counts. */
  async now() {
    this.stop();
    if (!this.isWanted()) return;
    const mine = new AbortController();
    this.#looking = mine;
    let problem = null;
    try {
      const body = await this.draft.check(mine.signal);
      if (this.#looking !== mine) return;
      this.tell(body.diagnostics);
      this.plan.replaceChildren(...sections(body.plan, { isPreview: true }));
    } catch (error) {
      if (this.#looking !== mine) return;
      problem = error;
      this.#fail(error);
    }
    this.onend(problem);
  }

  /** Forgets what older texts had, and why this one's is not known. */
  #fail(error) {
    this.clear();
    if (this.draft.isConflict(error)) return;
    this.flaws.replaceChildren(failure(error));
    // The server may still take it: saving asks it again.
    if (isPassing(error)) this.soon(RETRY);
    else this.hasErrors = true;
  }

  clear() {
    this.hasErrors = false;
    this.code.mark([]);
    this.flaws.replaceChildren();
    this.plan.replaceChildren();
  }

  /** Shows what is wrong. */
  tell(diagnostics) {
    const isOwn = (flaw) => flaw.file.split("/").pop() === this.draft.target;
    this.hasErrors = diagnostics.some(({ severity }) => severity === "error");
    this.code.mark(diagnostics.filter(isOwn));
    const all = diagnostics.map((flaw) => diagnostic(flaw, this.#place(flaw, isOwn(flaw))));
    this.flaws.replaceChildren(...(all.length ? all : [el("p", { class: "soft" }, "Nothing is wrong with it.")]));
  }

  #place({ file, line, column }, isOwn) {
    const at = line ? `line ${line}, column ${column}` : file;
    if (isOwn && line) return el("button", { type: "button", class: "link", onclick: () => this.code.go(line, column) }, at);
    return el("span", { class: "soft" }, line ? `${file}: ${at}` : at);
  }
}
