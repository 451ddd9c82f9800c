"""Parts of herdsman's own page, as a person finds them."""

from playwright.sync_api import expect


def live(page, url):
    """Opens a view, and waits until it is live."""
    page.goto(url)
    expect(page.locator("#connection")).to_have_text("live")


def row(page, model):
    """A model in the list."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=model, exact=True))


def card(page, title):
    """A part of a view, by its heading."""
    return page.get_by_role("heading", name=title, exact=True).locator("xpath=ancestor::section[1]")


def fact(page, term):
    """What the view of a model says under `term`."""
    return card(page, "Now").locator(f"dt:text-is('{term}') + dd")


def status(page):
    """The status in the view of a model."""
    return page.locator("main .bar .status")


def give(page, verb, model, reason=None):
    """Gives a command, and waits until it is recorded."""
    page.get_by_role("button", name=f"{verb} {model}", exact=True).click()
    dialog = page.get_by_role("dialog")
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(page.locator(".toast").last).to_have_text(f"{verb} {model}: recorded")


def stays(page):
    """Marks the page; says later whether it is still the one that was loaded."""
    page.evaluate("window.isMarked = true")
    return lambda: page.evaluate("window.isMarked === true")
