"""llama.cpp's own web page in Chromium, used as a person would.

    browser.py FLOW URL MODEL...      HERDSMAN_TEST_CHROMIUM is the browser

Prints what it saw, for the test to compare. Nothing here sleeps: every step waits
for what a person would see. HERDSMAN_TEST_SCREENSHOTS names a folder for pictures.
"""

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

PATIENCE = 30_000  # milliseconds, for each step


def say(*words):
    print(*words, flush=True)


def picture(page, name):
    if folder := os.environ.get("HERDSMAN_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))


@contextmanager
def browser_page():
    """A page of a new browser, which is gone afterwards, with its profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["HERDSMAN_TEST_CHROMIUM"],
            # Chromium refuses its sandbox to root.
            chromium_sandbox=os.geteuid() != 0,
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        try:
            yield page
        except BaseException:
            picture(page, "failure")
            print(f"{page.url} shows:\n{page.locator('body').aria_snapshot()}", file=sys.stderr)
            raise
        finally:
            browser.close()


def watch_for_problems(page):
    """What the browser complains about, from now on; llama-server refuses /tools by design."""
    problems = []

    def add(url, problem):
        if not url.endswith("/tools"):
            problems.append(f"{problem} ({url})")

    page.on("console", lambda said: said.type == "error" and add(said.location["url"], said.text))
    page.on("pageerror", lambda error: add(page.url, error))
    page.on("response", lambda answer: answer.status >= 400 and add(answer.url, answer.status))
    return problems


def ask(page):
    """Types a question and returns the first words of the whole answer."""
    page.get_by_role("textbox", name="Type a message").fill("What do you say?")
    page.get_by_role("main").get_by_role("button", name="Send").click()
    answer = page.get_by_role("group", name="Assistant message")
    expect(answer.get_by_role("button", name="Regenerate")).to_be_visible()
    return " ".join(answer.get_by_role("paragraph").first.inner_text().split()[:3])


def one_server(page, url, model):
    """The page of one server: ask, and see its answer."""
    page.goto(url)
    expect(page.get_by_role("main").get_by_role("button", name=model, exact=True)).to_be_visible()
    say("answer:", ask(page))
    picture(page, "one_server")


def all_models(page, url, chosen, *others):
    """The page of all models: choose one, see it load, ask, see its answer."""
    page.goto(url)
    names = re.compile("^(Select model|" + "|".join(map(re.escape, [chosen, *others])) + ")$")
    page.get_by_role("main").get_by_role("button", name=names).click()
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("option")).to_have_count(1 + len(others))
    picture(page, "models")
    # `p` is the head of a group: which run, and which do not.
    for line in menu.locator("p, [role=option]").all():
        is_model = line.get_attribute("role") == "option"
        say("  model:" if is_model else "models:", line.inner_text().strip().splitlines()[0])

    menu.get_by_role("option", name=chosen).click()
    # A page that finds the model running says nothing.
    expect(page.get_by_text(f"Model loaded: {chosen}")).to_be_visible()
    say("loaded:", chosen)
    say("answer:", ask(page))
    picture(page, "all_models")


def left_open(page, url):
    """A tab that stays open until the test closes standard input."""
    page.goto(url)
    expect(page.get_by_role("textbox", name="Type a message")).to_be_visible()
    say("open")
    sys.stdin.read()


FLOWS = {flow.__name__: flow for flow in [one_server, all_models, left_open]}

if __name__ == "__main__":
    flow, *arguments = sys.argv[1:]
    with browser_page() as page:
        problems = watch_for_problems(page)
        FLOWS[flow](page, *arguments)
        for problem in problems:
            say("problem:", problem)
