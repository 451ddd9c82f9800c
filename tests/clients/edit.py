"""herdsman's own page in Chromium: a person edits definitions.

    edit.py FLOW URL DIRECTORY      HERDSMAN_TEST_CHROMIUM is the browser

DIRECTORY holds the definitions: somebody else edits there, too. Prints what it saw,
for the test to compare. Nothing here sleeps: every step waits for what a person would
see.
"""

import re
import sys
from pathlib import Path

from playwright.sync_api import expect

from browser import browser_page, picture, say, watch_for_problems


def text_area(page):
    return page.get_by_label("Definition", exact=True)


def problems(page):
    return page.get_by_label("Problems")


def change(page, before, after):
    text_area(page).fill(text_area(page).input_value().replace(before, after))


def save(page):
    return page.get_by_role("button", name="Save")


def answer(page, choice):
    page.get_by_role("dialog").get_by_role("button", name=choice).click()


def models(page, url, directory):
    """Create, change and delete a model; a mistake is seen on the way."""
    page.goto(url)
    page.get_by_role("link", name="New model").click()
    expect(save(page)).to_be_disabled()
    page.get_by_label("Name").fill("new")
    expect(problems(page)).to_contain_text("does not exist")
    expect(problems(page)).to_contain_text("line 2, column")
    expect(save(page)).to_be_disabled()
    picture(page, "edit-wrong")
    page.get_by_role("button", name="line 2, column").click()
    expect(text_area(page)).to_be_focused()
    say("caret:", page.evaluate("document.activeElement.value.slice(0, document.activeElement.selectionStart)").splitlines()[-1])
    text_area(page).fill('# "mine" \\ <b>\nmodel = "../weights/new.gguf"\nstate = "on_demand"\n[parameters]\nctx_size = 512')
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    expect(page.get_by_role("main")).to_contain_text("create")
    save(page).click()
    expect(page.get_by_role("heading", name="new", level=1)).to_be_visible()
    expect(page.locator("main .status").first).to_have_text("on demand")
    say("created:", Path(directory, "new.toml").read_text().splitlines()[0])

    page.get_by_role("link", name="Edit").click()
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    change(page, "512", "1024")
    expect(page.get_by_role("main")).to_contain_text("ctx_size 512")
    picture(page, "edit-right")
    # The toast of the first save may still be there, and says the same.
    with page.expect_response(lambda answer: answer.request.method == "PUT" and answer.url.endswith("/new.toml")):
        text_area(page).press("Control+s")
    expect(page.locator(".toast").last).to_have_text("Saved new.toml")
    expect(save(page)).to_be_disabled()
    say("changed:", Path(directory, "new.toml").read_text().splitlines()[-1])

    # Leaving asks where something is not saved, and does not where nothing is.
    change(page, "1024", "2048")
    page.get_by_role("link", name="Machine").click()
    answer(page, "Cancel")
    expect(text_area(page)).to_have_value(re.compile("2048"))
    page.get_by_role("link", name="Machine").click()
    answer(page, "Discard")
    expect(page.get_by_role("heading", name="Machine")).to_be_visible()

    page.goto(f"{url}/#/edit/new.toml")
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    page.get_by_role("button", name="Delete").click()
    answer(page, "Delete")
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    expect(page.get_by_role("link", name="new", exact=True)).to_have_count(0)
    say("deleted:", not Path(directory, "new.toml").exists())


def conflict(page, url, directory):
    """Somebody else changes the file meanwhile: nothing is lost."""
    file = Path(directory, "chat.toml")
    before = file.read_text()
    page.goto(f"{url}/#/edit/chat.toml")
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    file.write_text(before + "# theirs\n")
    text_area(page).fill(before + "# mine\n")
    expect(page.get_by_role("alert").last).to_contain_text("has changed since you read it")
    page.get_by_role("button", name="Load the new text").click()
    expect(text_area(page)).to_have_value(before + "# theirs\n")
    expect(page.get_by_label("What you typed")).to_have_value(before + "# mine\n")
    say("loaded the new text")

    file.write_text(before + "# theirs again\n")
    text_area(page).fill(before + "# theirs and mine\n")
    page.get_by_role("button", name="Keep mine").click()
    expect(page.get_by_label("The new text")).to_have_value(before + "# theirs again\n")
    expect(text_area(page)).to_have_value(before + "# theirs and mine\n")
    save(page).click()
    expect(page.locator(".toast").last).to_have_text("Saved chat.toml")
    say("kept:", file.read_text().splitlines()[-1])


def read_only(page, url, _directory):
    """The page says why nothing can be changed."""
    page.goto(f"{url}/#/edit/chat.toml")
    expect(page.get_by_role("alert").last).to_contain_text("edit = true")
    expect(text_area(page)).to_have_value(re.compile("model"))
    expect(text_area(page)).not_to_be_editable()
    say("save is disabled:", save(page).is_disabled())


def apply(page, url, directory):
    """Most models are deleted: the plan waits for permission."""
    for name in ["a", "b", "c"]:
        Path(directory, f"{name}.toml").unlink()
    page.goto(f"{url}/#/plan")
    expect(page.get_by_role("main")).to_contain_text("Held back")
    picture(page, "plan-held-back")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("dialog")).to_contain_text("a, b, c")
    answer(page, "Apply")
    expect(page.locator(".toast").last).to_have_text("Deleted 3 of 3 models")
    expect(page.get_by_role("main")).to_contain_text("Nothing is to be done")
    say("applied")


FLOWS = {flow.__name__: flow for flow in [models, conflict, read_only, apply]}

if __name__ == "__main__":
    flow, *arguments = sys.argv[1:]
    with browser_page() as page:
        found = watch_for_problems(page)
        FLOWS[flow](page, *arguments)
        for problem in found:
            # Of the file that somebody else has changed.
            if "412" not in problem:
                say("problem:", problem)
