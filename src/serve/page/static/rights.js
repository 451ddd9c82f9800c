// What the key of this browser may do. herdsman refuses the rest, so the page offers none
// of it, and says why.

import { say } from "./dom.js";
import { ask, isPassing } from "./live.js";

/** How long to wait after an answer that says nothing, ms. */
const RETRY = 5000;

/** Asks what may be done here: the definitions need every right. */
export async function learn() {
  try {
    await ask("api/definitions");
    show({});
  } catch (error) {
    if (isPassing(error)) setTimeout(learn, RETRY);
    else show({ mayAct: error.body?.code !== "not_admin", mayEdit: false, why: error.status === 403 ? error.message : "" });
  }
}

function show({ mayAct = true, mayEdit = true, why = "" }) {
  document.body.classList.toggle("may-not-act", !mayAct);
  document.body.classList.toggle("may-not-edit", !mayEdit);
  const place = document.getElementById("rights");
  place.hidden = !why;
  say(place, why);
}
