"""herdsman's own page in Chromium, used as a person would.

    page.py FLOW URL MODEL...      HERDSMAN_TEST_CHROMIUM is the browser

Prints what it saw, for the test to compare. Nothing here sleeps: every step waits
for what a person would see.
"""

import re
import sys

from playwright.sync_api import expect

import page_by_hand
import page_changes
import page_speed
import page_trouble
from browser import browser_page, picture, say, watch_for_problems
from page_parts import card, give, live, row


def commands(page, url, model):
    """Start, try, stop: all of it seen live."""
    live(page, url)
    expect(row(page, model)).to_contain_text("on demand")
    give(page, "Start", model, "a demo")
    expect(row(page, model)).to_contain_text("running")
    say("list:", page.locator(".summary").inner_text())
    picture(page, "list")

    row(page, model).get_by_role("link", name=model).click()
    expect(page.get_by_role("heading", name=model, level=1)).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("herdsman: instance ")
    expect(page.get_by_role("heading", name="Why").locator("..")).to_contain_text("a demo")
    page.get_by_label("What to try").select_option("completion")
    page.get_by_label("Prompt").fill("hi")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Answer")).to_contain_text(f"{model} {model}")
    expect(page.get_by_role("heading", name="Last requests").locator("..")).to_contain_text("POST /v1/completions")
    expect(page.get_by_role("heading", name="History").locator("..")).to_contain_text("start requested")
    picture(page, "model")
    give(page, "Stop", model)
    expect(page.locator("main .status").first).to_have_text("stopped")
    say("stopped")


def views(page, url, *_):
    """Plan, machine and requests hold what they should."""
    page.goto(url)
    page.get_by_role("link", name="Plan").click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("match(es)? (its|their) definition"))
    say("plan: nothing is to be done")
    page.get_by_role("link", name="Machine").click()
    expect(card(page, "Memory")).to_contain_text("available; servers use")
    expect(card(page, "Devices")).to_contain_text("No devices known")
    expect(card(page, "Disks")).to_contain_text("in this folder")
    expect(card(page, "llama-server")).to_contain_text("No server runs")
    page.get_by_role("link", name="Requests").click()
    expect(page.get_by_role("heading", name="Last requests")).to_be_visible()
    say("machine and requests are there")


def injected(page, url, *texts):
    """What others say is text: no element of theirs, no dialog, no error."""
    page.goto(url)
    for text in texts:
        expect(page.get_by_role("main")).to_contain_text(text)
    say("elements of theirs:", page.locator("main script, main img, main svg, main b").count())


def lost(page, url, *_):
    """Prints `live`, then says when the connection is lost and when it is back."""
    page.goto(url)
    expect(page.locator("#connection")).to_have_text("live")
    say("live")
    expect(page.locator("#connection")).to_contain_text("connection lost")
    say("lost")
    expect(page.locator("#connection")).to_have_text("live")
    say("back:", page.locator(".summary").inner_text())


FLOWS = {
    **{flow.__name__: flow for flow in [commands, views, injected, lost]},
    **page_by_hand.FLOWS,
    **page_changes.FLOWS,
    **page_speed.FLOWS,
    **page_trouble.FLOWS,
}

# The browser complains about what these do.
WITH_PROBLEMS = ["lost", "by_hand", "keys", "heals"]


def main():
    flow, url, *rest = sys.argv[1:]
    with browser_page() as page:
        problems = [] if flow in WITH_PROBLEMS else watch_for_problems(page)
        FLOWS[flow](page, url, *rest)
        for problem in problems:
            say("problem:", problem)


if __name__ == "__main__":
    main()
