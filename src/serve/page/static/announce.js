// Says what changes, for who hears the page: the status of models, a few at a time.

import { say } from "./dom.js";
import { follow, keyOf, models } from "./live.js";
import { statusOf } from "./words.js";

/** Changes within this time, ms, are said together. */
const TOGETHER = 1500;
/** More models than these are only counted. */
const MOST = 3;

export function announce(place) {
  const known = new Map();
  const changed = new Map();
  let isFirst = true;
  let timer = null;

  function look(model) {
    const key = keyOf(model);
    const [, word] = statusOf(model);
    if (!isFirst && known.get(key) !== word) changed.set(model.name, word);
    known.set(key, word);
  }

  function tell() {
    timer = null;
    const all = [...changed];
    changed.clear();
    say(place, all.length > MOST ? `${all.length} models changed` : all.map(([name, word]) => `${name}: ${word}`).join("; "));
  }

  follow((keys, isAll) => {
    if (isAll) {
      for (const key of known.keys()) if (!models.has(key)) known.delete(key);
      models.forEach(look);
    } else {
      for (const key of keys) look(models.get(key));
    }
    if (models.size) isFirst = false;
    if (changed.size) timer ??= setTimeout(tell, TOGETHER);
  });
}
