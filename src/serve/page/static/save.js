// Saves or deletes a definition, and goes where that leads.

import { conflict } from "./conflict.js";
import { toast } from "./dom.js";
import { failure, follow, named } from "./live.js";
import { question } from "./question.js";

/** How long to wait for the pass that takes a new model in, ms. */
const PATIENCE = 10000;

/** Writes the text. A new file leads to its model. */
export function save(editor) {
  return alone(editor, async () => {
    const { draft } = editor;
    const body = await draft.save();
    toast(`Saved ${draft.target}${body.commit ? ` in commit ${body.commit.slice(0, 10)}` : ""}`);
    editor.notes.replaceChildren();
    if (draft.file) return;
    const made = modelOf(body.plan, draft.form.name());
    if (made) await known(made, editor.signal);
    // Somebody who has gone elsewhere stays there.
    if (!editor.signal.aborted) location.hash = made ? `#/models/${encodeURIComponent(made)}` : "#/";
  });
}

/** Deletes the file, if that is meant. */
export async function discard(editor) {
  const { draft } = editor;
  const meaning = "Its server is stopped once its requests in flight are finished, and its file is gone.";
  if (!(await question(`Delete ${draft.file}?`, meaning, "Delete"))) return;
  await alone(editor, async () => {
    await draft.remove();
    toast(`Deleted ${draft.file}`);
    if (!editor.signal.aborted) location.hash = "#/";
  });
}

/** Does `work` while nothing else is sent. */
async function alone(editor, work) {
  const { check, draft, notes, signal } = editor;
  check.stop();
  editor.setBusy(true);
  let problem = null;
  try {
    await work();
  } catch (error) {
    problem = error;
  }
  editor.setBusy(false);
  if (signal.aborted) {
    if (problem) toast(`${draft.target}: ${problem.message}`, true);
  } else if (!problem) {
    check.now();
  } else if (draft.isConflict(problem)) {
    conflict(editor, problem);
  } else if (problem.body?.diagnostics) {
    check.clear();
    check.tell(problem.body.diagnostics);
    editor.refresh();
  } else {
    notes.replaceChildren(failure(problem));
    check.soon();
  }
}

/** The name of the new model: the file's, unless the text sets `name`. */
function modelOf(plan, stem) {
  const made = plan.actions.filter(({ action }) => action === "create").map(({ model }) => model);
  return made.find((name) => name === stem) ?? made.find((name) => !named(name)) ?? (named(stem) && stem);
}

/** Waits until herdsman knows of a model, or for a while. */
function known(name, signal) {
  return new Promise((resolve) => {
    const done = () => {
      end();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, PATIENCE);
    const end = follow(() => named(name) && done());
    signal.addEventListener("abort", done);
    if (named(name) || signal.aborted) done();
  });
}
