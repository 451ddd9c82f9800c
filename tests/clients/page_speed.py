"""herdsman's own page with many models, and many changes of them."""

from browser import say
from page_parts import live

WATCH = """
const Socket = WebSocket;
window.WebSocket = class extends Socket {
  constructor(...all) { super(...all); window.socket = this; }
};
"""

# Five models change with each of 300 messages, 60 in a second. The page hears them as if
# herdsman had sent them.
CHANGES = """async () => {
  const { models } = await import("/page/live.js");
  const all = [...models.values()];
  const frames = [];
  let last = performance.now();
  let isOver = false;
  (function frame() {
    const now = performance.now();
    frames.push(now - last);
    last = now;
    if (!isOver) requestAnimationFrame(frame);
  })();
  await new Promise((done) => {
    let number = 0;
    const clock = setInterval(() => {
      number += 1;
      for (let at = 0; at < 5; at += 1) {
        const model = structuredClone(all[(number * 5 + at * 37) % all.length]);
        model.status = ["running", "idle", "loading", "error"][number % 4];
        model.memory = 1e9 + number * 1e6;
        model.requests.inFlight = number;
        model.reasons = [`change ${number}`];
        window.socket.onmessage({ data: JSON.stringify({ type: "model", data: model }) });
      }
      if (number < 300) return;
      clearInterval(clock);
      done();
    }, 1000 / 60);
  });
  await new Promise(requestAnimationFrame);
  isOver = true;
  frames.sort((a, b) => a - b);
  return { frames: frames.length, p99: frames[Math.floor(frames.length * 0.99)], longest: frames.at(-1) };
}"""


def speed(page, url, count):
    """Prints, in ms: the first paint, all rows, and the frames while much changes."""
    page.add_init_script(WATCH)
    live(page, url)
    page.locator("tbody.models > tr").nth(int(count) - 1).wait_for(state="attached")
    say("rows", round(page.evaluate("performance.now()")))
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    say("paint", round(page.evaluate(paint)))
    for order in ["Model", "Status"]:
        page.get_by_role("columnheader").get_by_role("button", name=order).click()
        frames = page.evaluate(CHANGES)
        for name, value in frames.items():
            say(f"{order.lower()} {name}", round(value))


FLOWS = {flow.__name__: flow for flow in [speed]}
