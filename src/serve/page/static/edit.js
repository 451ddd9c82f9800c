// Changes a definition: its text, what is wrong with it, and what it would do.
//
//   draft.js     what was read, and how it is sent back
//   check.js     asks what the text would do, and shows it
//   save.js      writes or deletes the file
//   conflict.js  somebody else was quicker

import { Check } from "./check.js";
import { box } from "./code.js";
import { conflict } from "./conflict.js";
import { Draft, endsOf } from "./draft.js";
import { el } from "./dom.js";
import { ask, failure } from "./live.js";
import { discard, save } from "./save.js";

const TEMPLATE = `# What this model is for.
model = "/path/to/weights.gguf"
state = "on_demand"

[parameters]
ctx_size = 8192
`;

/** `file`: the one to change; without it, a new one. Returns how to end that. */
export function show(main, file = null) {
  const editor = new Editor(main, file);
  const onkey = (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key !== "s") return;
    event.preventDefault();
    editor.store();
  };
  const onleave = (event) => {
    if (editor.asks()) event.preventDefault();
  };
  main.addEventListener("keydown", onkey);
  addEventListener("beforeunload", onleave);
  editor.load();
  const end = () => {
    main.removeEventListener("keydown", onkey);
    removeEventListener("beforeunload", onleave);
    editor.end();
  };
  end.asks = () => editor.asks();
  return end;
}

/** The form. */
class Editor {
  notes = el("div", { class: "stack", role: "alert" });
  /** For a text that is not in the box: somebody may want parts of it. */
  aside = el("div");
  #name = el("input", { id: "name", autocomplete: "off", spellcheck: "false", placeholder: "my-model" });
  #save = el("button", { type: "button", class: "primary", disabled: true, onclick: () => this.store() }, "Save");
  #remove = el("button", { type: "button", disabled: true, onclick: () => discard(this) }, "Delete");
  /** Until it is read, nothing can be written. */
  #isReadOnly = true;
  #isBusy = false;
  #gone = new AbortController();

  constructor(main, file) {
    this.signal = this.#gone.signal;
    this.code = box("Definition", () => this.#typed());
    this.draft = new Draft(file, { name: () => this.#name.value.trim(), text: () => this.code.area.value }, this.signal);
    this.check = new Check(this.draft, this.code, {
      isWanted: () => !this.#isReadOnly && !this.#isBusy && !this.draft.isOver && this.draft.isNamed,
      onend: (error) => {
        this.refresh();
        if (error && this.draft.isConflict(error)) conflict(this, error);
      },
    });
    this.#name.addEventListener("input", () => this.#typed());
    this.#lay(main, file);
  }

  #lay(main, file) {
    const title = file ? `Edit ${file}` : "New model";
    document.title = `${title} – herdsman`;
    main.replaceChildren(
      el("div", { class: "bar" },
        el("a", { href: "#/", class: "button" }, "← Models"), el("h1", {}, title), el("span", { class: "grow" }), el("div", { class: "actions" }, file && this.#remove, this.#save)),
      this.notes,
      el("div", { class: "cards" },
        el("section", { class: "card" },
          !file && el("p", { class: "field" }, el("label", { for: "name" }, "Name"), this.#name),
          this.code.element, this.check.flaws, this.aside),
        el("section", { class: "card" }, el("h2", {}, "What the next pass would do"), this.check.plan)),
    );
  }

  async load() {
    const { file } = this.draft;
    this.code.area.readOnly = true;
    try {
      const { body } = await ask("api/definitions", { signal: this.signal });
      if (body.read_only) this.notes.replaceChildren(el("p", { class: "diagnostic" }, body.read_only));
      this.take(file ? await this.draft.look() : { text: TEMPLATE, tag: null });
      this.#isReadOnly = Boolean(body.read_only);
      this.code.area.readOnly = this.#isReadOnly;
      (file ? this.code.area : this.#name).focus();
      this.check.now();
    } catch (error) {
      if (!this.signal.aborted) this.notes.replaceChildren(failure(error));
    }
    this.refresh();
  }

  /** Takes a text to begin with, and says what saving would do to its line ends. */
  take({ text, tag }) {
    const ends = endsOf(text);
    this.code.set(text);
    Object.assign(this.draft, { tag, ends: ends ?? "\n", base: this.code.area.value });
    if (!this.#isReadOnly) this.notes.replaceChildren();
    if (!ends) this.notes.append(el("p", { class: "diagnostic" }, `The line ends of ${this.draft.target} are mixed: saving makes all of them LF.`));
  }

  store() {
    if (!this.#save.disabled) save(this);
  }

  setBusy(isBusy) {
    this.#isBusy = isBusy;
    // What is typed into a new file after it was sent would be lost.
    if (!this.draft.file) this.code.area.readOnly = this.#name.readOnly = isBusy;
    this.refresh();
  }

  /** Offers what is possible. */
  refresh() {
    const isIdle = !this.#isReadOnly && !this.#isBusy;
    this.#save.disabled = !isIdle || this.check.hasErrors || !this.draft.isChanged || !this.draft.isNamed;
    this.#remove.disabled = !isIdle || !this.draft.tag;
  }

  #typed() {
    this.refresh();
    this.check.soon();
  }

  /** Whether leaving loses something. */
  asks() {
    return !this.#isReadOnly && this.draft.isChanged;
  }

  end() {
    this.#gone.abort();
    this.check.stop();
  }
}
