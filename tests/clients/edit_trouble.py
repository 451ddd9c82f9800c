"""A person edits definitions, and something comes between."""

import re
from pathlib import Path

from playwright.sync_api import expect

from browser import say
from edit_parts import answer, edit, problems, save, saved, text_area

WRITES = re.compile(r"/api/definitions/[^?]+$")
CHECKS = re.compile(r"\?dry-run=true$")


class Held:
    """Holds back what herdsman answers to a save, until it is let go."""

    def __init__(self, page):
        self.answers = []
        page.route(WRITES, self.hold)

    def hold(self, route):
        if route.request.method == "PUT":
            self.answers.append((route, route.fetch()))
        else:
            route.continue_()

    def let_go(self):
        route, answer = self.answers.pop()
        route.fulfill(response=answer)


def hold_save(page, file):
    held = Held(page)
    before = file.exists() and file.read_text()
    with page.expect_request(WRITES):
        save(page).click()
    # The request is on its way: any word with the browser lets the handler run.
    while not held.answers:
        page.evaluate("1")
    assert file.read_text() != before
    return held


def other_name(page, url, directory):
    """A new file names a model that is not called as the file is."""
    page.goto(f"{url}/#/new")
    page.get_by_label("Name").fill("file")
    text_area(page).fill('name = "other"\nmodel = "../weights/new.gguf"\nstate = "on_demand"\n[parameters]\nctx_size = 512')
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    save(page).click()
    expect(page.get_by_role("heading", name="other", level=1)).to_be_visible()
    expect(page.locator("main .status").first).to_have_text("on demand")
    say("shows the model of", next(Path(directory).glob("file*")).name)


def deleted(page, url, directory):
    """Somebody else deletes the file: it can be created again."""
    file = Path(directory, "chat.toml")
    before = file.read_text()
    edit(page, url, "chat.toml")
    file.unlink()
    text_area(page).fill(before + "# mine\n")
    expect(page.get_by_role("alert").last).to_contain_text("was deleted")
    page.get_by_role("button", name="Create it again").click()
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    save(page).click()
    expect(page.locator(".toast").last).to_have_text("Saved chat.toml")
    say("created again:", file.read_text() == before + "# mine\n")


def offline(page, url, _directory):
    """A check gets no answer: the text can be saved, and the check is made again."""
    edit(page, url, "chat.toml")
    page.route(CHECKS, lambda route: route.abort())
    text_area(page).fill(text_area(page).input_value() + "nonsense\n")
    expect(problems(page)).to_contain_text("fetch")
    expect(page.get_by_role("main")).not_to_contain_text("definition; nothing to do")
    expect(save(page)).to_be_enabled()
    say("can be saved")
    page.unroute(CHECKS)
    expect(problems(page)).to_contain_text("line ")
    expect(save(page)).to_be_disabled()
    say("checked again")


def line_ends(page, url, directory):
    """A text with several kinds of line ends is saved with one."""
    file = Path(directory, "chat.toml")
    file.write_bytes(b"# one\r\n# two\n" + file.read_bytes())
    edit(page, url, "chat.toml")
    expect(page.get_by_role("alert").last).to_contain_text("mixed")
    expect(save(page)).to_be_disabled()
    text_area(page).fill(text_area(page).input_value() + "# three\n")
    save(page).click()
    expect(page.locator(".toast").last).to_have_text("Saved chat.toml")
    say("LF only:", b"\r" not in file.read_bytes())


def typing_while_saving(page, url, directory):
    """What is typed during a save is neither lost nor a conflict."""
    page.clock.install()
    edit(page, url, "chat.toml")
    text_area(page).fill(text_area(page).input_value() + "# one\n")
    held = hold_save(page, Path(directory, "chat.toml"))
    checks = []
    page.on("request", lambda request: CHECKS.search(request.url) and checks.append(request))
    text_area(page).fill(text_area(page).input_value() + "# two\n")
    # Longer than the page waits for more: a check now would have the old ETag.
    page.clock.fast_forward(2000)
    page.evaluate("fetch('/page/icon.svg')")
    say("checks meanwhile:", len(checks))
    with page.expect_response(CHECKS) as checked:
        held.let_go()
    say("checked with", checked.value.status)
    expect(save(page)).to_be_enabled()
    page.unroute(WRITES)
    with saved(page):
        save(page).click()
    say("saved:", Path(directory, "chat.toml").read_text().splitlines()[-2:])


def leaving_while_saving(page, url, directory):
    """Somebody who has gone to another view stays there."""
    page.goto(f"{url}/#/new")
    page.get_by_label("Name").fill("new")
    text_area(page).fill('model = "../weights/new.gguf"\nstate = "on_demand"\n[parameters]\nctx_size = 512')
    expect(problems(page)).to_contain_text("Nothing is wrong with it")
    held = hold_save(page, Path(directory, "new.toml"))
    page.get_by_role("link", name="Models", exact=True).click()
    answer(page, "Discard")
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    held.let_go()
    expect(page.locator(".toast").last).to_have_text("Saved new.toml")
    expect(page.get_by_role("row").filter(has=page.get_by_role("link", name="new", exact=True))).to_be_visible()
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    say("is at", page.url.split("#")[1])


FLOWS = {
    flow.__name__: flow
    for flow in [other_name, deleted, offline, line_ends, typing_while_saving, leaving_while_saving]
}

# The browser complains about what these do.
WITH_PROBLEMS = ["deleted", "offline"]
