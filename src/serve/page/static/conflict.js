// Somebody else has changed the file meanwhile, or deleted it: nothing that anybody wrote
// is lost.

import { el, swap } from "./dom.js";
import { failure } from "./live.js";

/** Offers what can be done about it. `error` says what has happened. */
export async function conflict(editor, error) {
  const { draft, notes, signal } = editor;
  try {
    const theirs = await draft.look();
    swap(notes, choice(error.message, [
      ["Load the new text", () => takeTheirs(editor, theirs)],
      ["Keep mine", () => keepMine(editor, theirs)],
    ]));
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.status !== 404) return notes.replaceChildren(failure(problem));
    swap(notes, choice(`${draft.file} was deleted while you changed it.`, [["Create it again", () => createAgain(editor)]]));
  }
}

function choice(text, choices) {
  const buttons = choices.map(([label, onclick]) => el("button", { type: "button", onclick }, label));
  return el("div", { class: "diagnostic" }, el("p", {}, text), el("div", { class: "bar" }, buttons));
}

function takeTheirs(editor, theirs) {
  const mine = editor.code.area.value;
  editor.take(theirs);
  editor.aside.replaceChildren(beside("What you typed", mine));
  proceed(editor);
}

/** What somebody else wrote is the next base, and stays in sight. */
function keepMine(editor, theirs) {
  const mine = editor.code.area.value;
  editor.take(theirs);
  editor.aside.replaceChildren(beside("The new text", editor.draft.base));
  editor.code.set(mine);
  proceed(editor);
}

function createAgain(editor) {
  editor.draft.tag = null;
  editor.notes.replaceChildren();
  proceed(editor);
}

function proceed(editor) {
  editor.check.now();
  editor.code.area.focus();
  editor.refresh();
}

function beside(title, text) {
  const other = el("textarea", { class: "editor", wrap: "off", readonly: true, "aria-label": title, rows: "8" });
  other.value = text;
  return el("details", { open: true }, el("summary", {}, title), other);
}
