// A definition while somebody changes it: what was read, and how it is sent back.

import { ask } from "./live.js";

export class Draft {
  /** `file`: the one to change; `null`: a new one. `form` has the `name` and the `text`
   * as they are typed. Reads end with `signal`, writes do not. */
  constructor(file, form, signal) {
    this.file = file;
    this.form = form;
    this.signal = signal;
    /** The ETag of what was read; `null`: there is no such file. */
    this.tag = null;
    /** What was read or saved last. */
    this.base = "";
    /** A text area knows only one kind of line end. */
    this.ends = "\n";
    /** Whether it is saved as a new file, or deleted. */
    this.isOver = false;
  }

  /** The name of the file. */
  get target() {
    return this.file ?? `${this.form.name()}.toml`;
  }

  get isNamed() {
    return Boolean(this.file || this.form.name());
  }

  get isChanged() {
    return !this.isOver && (this.form.text() !== this.base || (!this.tag && this.isNamed));
  }

  /** Returns the file as it is now: its `text` and its `tag`. */
  async look() {
    const { body, headers } = await ask(this.#path(), { signal: this.signal });
    return { text: body.text, tag: headers.get("etag") };
  }

  /** Asks what the text would do, and what is wrong with it. */
  async check(signal) {
    const { body } = await this.#send("PUT", "?dry-run=true", signal);
    return body;
  }

  /** Writes the text; returns the answer. */
  async save() {
    const sent = this.form.text();
    const { body, headers } = await this.#send("PUT", "");
    this.base = sent;
    this.tag = headers.get("etag");
    this.isOver = !this.file;
    return body;
  }

  /** Deletes the file. */
  async remove() {
    await this.#send("DELETE", "");
    this.isOver = true;
  }

  /** Whether an error says that somebody else has changed the file. */
  isConflict(error) {
    return error.status === 412 && Boolean(this.file);
  }

  #path() {
    return `api/definitions/${encodeURIComponent(this.target)}`;
  }

  #send(method, query, signal) {
    const condition = this.tag ? { "If-Match": this.tag } : { "If-None-Match": "*" };
    const text = this.form.text();
    return ask(this.#path() + query, {
      method,
      headers: { "Content-Type": "application/toml", ...condition },
      body: method === "PUT" ? text.replaceAll("\n", this.ends) : undefined,
      signal,
    });
  }
}

/** The line ends of a text, `null` if it has several kinds. */
export function endsOf(text) {
  const kinds = new Set(text.match(/\r\n|\r|\n/g));
  if (kinds.has("\r") || kinds.size > 1) return null;
  return [...kinds][0] ?? "\n";
}
