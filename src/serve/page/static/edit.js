// Changes a definition: its text, what is wrong with it, and what it would do.

import { box } from "./code.js";
import { el, toast } from "./dom.js";
import { ask, failure, follow, named } from "./live.js";
import { sections } from "./plan.js";
import { question } from "./question.js";

/** How long nobody types before the text is checked, milliseconds. */
const PAUSE = 350;

const TEMPLATE = `# What this model is for.
model = "/path/to/weights.gguf"
state = "on_demand"

[parameters]
ctx_size = 8192
`;

/** `file`: the one to change; without it, a new one. Returns how to end that. */
export function show(main, file = null) {
  const name = el("input", { id: "name", autocomplete: "off", spellcheck: "false", placeholder: "my-model" });
  const code = box("Definition", typed);
  const flaws = el("div", { role: "status", "aria-label": "Problems" });
  const plan = el("div", { class: "stack" });
  const notes = el("div", { class: "stack", role: "alert" });
  const aside = el("div");
  const save = el("button", { type: "button", class: "primary", disabled: true, onclick: () => store() }, "Save");
  const remove = file && el("button", { type: "button", disabled: true, onclick: () => discard() }, "Delete");
  const gone = new AbortController();
  const title = file ? `Edit ${file}` : "New model";
  document.title = `${title} – herdsman`;

  let [base, tag, isReadOnly, isBusy] = ["", null, true, false];
  let [timer, looking, hasErrors] = [null, null, false];
  // A text area knows only one kind of line end.
  let ends = "\n";

  main.replaceChildren(
    el("div", { class: "bar" },
      el("a", { href: "#/", class: "button" }, "← Models"), el("h1", {}, title), el("span", { class: "grow" }), el("div", { class: "actions" }, remove, save)),
    notes,
    el("div", { class: "cards" },
      el("section", { class: "card" },
        !file && el("p", { class: "field" }, el("label", { for: "name" }, "Name"), name),
        code.element, flaws, aside),
      el("section", { class: "card" }, el("h2", {}, "What the next pass would do"), plan)),
  );
  name.addEventListener("input", typed);
  main.addEventListener("keydown", onkey);
  addEventListener("beforeunload", onleave);
  load();

  const target = () => file ?? `${name.value.trim()}.toml`;
  const path = () => `api/definitions/${encodeURIComponent(target())}`;
  const text = () => (ends === "\n" ? code.area.value : code.area.value.replaceAll("\n", ends));
  const isChanged = () => code.area.value !== base || Boolean(!file && name.value.trim());
  const condition = () => (file ? { "If-Match": tag } : { "If-None-Match": "*" });

  async function load() {
    try {
      const { body } = await ask("api/definitions", { signal: gone.signal });
      isReadOnly = Boolean(body.read_only);
      if (isReadOnly) notes.replaceChildren(el("p", { class: "diagnostic" }, body.read_only));
      if (file) await read();
      else take(TEMPLATE);
      code.area.readOnly = isReadOnly;
      (file ? code.area : name).focus();
    } catch (error) {
      if (!gone.signal.aborted) notes.replaceChildren(failure(error));
    }
    buttons();
  }

  async function read() {
    const { body, headers } = await ask(path(), { signal: gone.signal });
    tag = headers.get("etag");
    take(body.text);
  }

  function take(loaded) {
    ends = loaded.includes("\r\n") ? "\r\n" : "\n";
    base = loaded.replaceAll("\r\n", "\n");
    code.set(base);
    if (!isReadOnly && file) check();
  }

  function typed() {
    buttons();
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  }

  function buttons() {
    save.disabled = isReadOnly || isBusy || hasErrors || !isChanged() || (!file && !name.value.trim());
    if (remove) remove.disabled = isReadOnly || isBusy || !tag;
  }

  /** Asks what the text would do. Only the answer to the newest one counts. */
  async function check() {
    clearTimeout(timer);
    looking?.abort();
    if (isReadOnly || (!file && !name.value.trim())) return;
    const mine = new AbortController();
    looking = mine;
    try {
      const { body } = await send("PUT", "?dry-run=true", mine.signal);
      if (looking !== mine) return;
      tell(body.diagnostics);
      plan.replaceChildren(...sections(body.plan, { isPreview: true }));
    } catch (error) {
      if (looking !== mine || mine.signal.aborted) return;
      if (isConflict(error)) return conflict(error);
      hasErrors = true;
      flaws.replaceChildren(failure(error));
      buttons();
    }
  }

  const send = (method, query, signal) =>
    ask(path() + query, {
      method,
      headers: { "Content-Type": "application/toml", ...condition() },
      body: method === "PUT" ? text() : undefined,
      signal,
    });

  /** Shows what is wrong; `null`: that is not known. */
  function tell(diagnostics) {
    plan.hidden = !diagnostics;
    if (!diagnostics) {
      code.mark([]);
      return flaws.replaceChildren();
    }
    hasErrors = diagnostics.some(({ severity }) => severity === "error");
    const isOwn = (flaw) => flaw.file.split("/").pop() === target();
    code.mark(diagnostics.filter(isOwn));
    flaws.replaceChildren(
      ...diagnostics.map((flaw) => {
        const { severity, line, column, message, help } = flaw;
        const at = line ? `line ${line}, column ${column}` : flaw.file;
        const place = isOwn(flaw) && line
          ? el("button", { type: "button", class: "link", onclick: () => code.go(line, column) }, at)
          : el("span", { class: "soft" }, line ? `${flaw.file}: ${at}` : at);
        return el("div", { class: `diagnostic ${severity}` }, el("p", {}, place, ` ${message}`), help && el("p", { class: "soft" }, help));
      }),
    );
    if (!diagnostics.length) flaws.replaceChildren(el("p", { class: "soft" }, "Nothing is wrong with it."));
    buttons();
  }

  async function store() {
    if (save.disabled) return;
    await busy(async () => {
      const sent = code.area.value;
      const { body, headers } = await send("PUT", "");
      base = sent;
      tag = headers.get("etag");
      notes.replaceChildren();
      toast(`Saved ${target()}${body.commit ? ` in commit ${body.commit.slice(0, 10)}` : ""}`);
      if (file) return check();
      base = code.area.value;
      const made = name.value.trim();
      name.value = "";
      await known(made);
      location.hash = `#/models/${encodeURIComponent(made)}`;
    });
  }

  async function discard() {
    const meaning = "Its server is stopped once its requests in flight are finished, and its file is gone.";
    if (!(await question(`Delete ${file}?`, meaning, "Delete"))) return;
    await busy(async () => {
      await send("DELETE", "");
      base = code.area.value;
      toast(`Deleted ${file}`);
      location.hash = "#/";
    });
  }

  async function busy(work) {
    clearTimeout(timer);
    looking?.abort();
    isBusy = true;
    buttons();
    try {
      await work();
    } catch (error) {
      if (isConflict(error)) conflict(error);
      else if (error.body?.diagnostics) tell(error.body.diagnostics);
      else notes.replaceChildren(failure(error));
    }
    isBusy = false;
    buttons();
  }

  const isConflict = (error) => error.status === 412 && file;

  /** Somebody else has changed the file: nothing that anybody wrote is lost. */
  function conflict(error) {
    const choose = (keepsMine) => async () => {
      const mine = code.area.value;
      try {
        await read();
      } catch (problem) {
        return notes.replaceChildren(failure(problem));
      }
      notes.replaceChildren();
      aside.replaceChildren(beside(keepsMine ? "The new text" : "What you typed", keepsMine ? base : mine));
      if (keepsMine) {
        code.set(mine);
        check();
      }
      code.area.focus();
      buttons();
    };
    tell(null);
    notes.replaceChildren(
      el("div", { class: "diagnostic" },
        el("p", {}, error.message),
        el("div", { class: "bar" },
          el("button", { type: "button", onclick: choose(false) }, "Load the new text"),
          el("button", { type: "button", onclick: choose(true) }, "Keep mine"))),
    );
  }

  function onkey(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      store();
    }
  }

  function onleave(event) {
    if (isChanged()) event.preventDefault();
  }

  function end() {
    main.removeEventListener("keydown", onkey);
    removeEventListener("beforeunload", onleave);
    clearTimeout(timer);
    looking?.abort();
    gone.abort();
  }
  end.asks = () => !isReadOnly && isChanged();
  return end;
}

/** Waits until the pass that takes a new model in has been made, for a while at most. */
function known(name) {
  return new Promise((resolve) => {
    const done = () => {
      end();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, 10000);
    const end = follow(() => named(name) && done());
    if (named(name)) done();
  });
}

function beside(title, text) {
  const other = el("textarea", { class: "editor", wrap: "off", readonly: true, "aria-label": title, rows: "8" });
  other.value = text;
  return el("details", { open: true }, el("summary", {}, title), other);
}
