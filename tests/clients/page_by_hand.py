"""What a person does with a model on herdsman's own page."""

import re

from playwright.sync_api import expect

from browser import picture, say
from page_parts import card, fact, give, live, row, status


def by_hand(page, url, model):
    """Restart, suspend and resume; a duration that is refused can be corrected."""
    live(page, f"{url}/#/models/{model}")
    expect(status(page)).to_have_text("running")
    process = fact(page, "Process").inner_text()
    give(page, "Restart", model)
    expect(fact(page, "Process")).not_to_have_text(process)
    expect(status(page)).to_have_text("running")
    say("another process")

    page.get_by_role("button", name=f"Suspend {model}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the disks")
    dialog.get_by_label("For how long").fill("tomorrow")
    dialog.get_by_role("button", name="Suspend", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("use a duration such as 30s or 2h")
    dialog.get_by_label("For how long").fill("2h")
    dialog.get_by_role("button", name="Suspend", exact=True).click()
    expect(status(page)).to_have_text("suspended (running)")
    expect(card(page, "Why")).to_contain_text(re.compile("suspended by the API at .* until"))
    expect(card(page, "Why")).to_contain_text(": the disks")
    picture(page, "suspended")
    say("suspended")
    give(page, "Resume", model)
    expect(status(page)).to_have_text("running")
    say("resumed")


def keyboard(page, url, model):
    """All of it without a mouse, heard by who does not see it."""
    live(page, f"{url}/#/machine")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Machine")

    live(page, url)
    expect(row(page, model)).to_contain_text("on demand")
    names = []
    while not names or names[-1] != f"Start {model}":
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
        assert len(names) < 60, names
    say("before it:", ", ".join(name.split("\n")[0] for name in names[-3:-1]))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator("#changes")).to_have_text(f"{model}: running")
    expect(page.get_by_role("button", name=f"Stop {model}")).to_be_focused()
    say("started, and the focus is on Stop")


def tries(page, url, model, embedder):
    """A streamed chat that is stopped, and an embedding."""
    live(page, f"{url}/#/models/{model}")
    box = card(page, "Try it")
    box.get_by_label("Prompt").fill("hi")
    box.get_by_label("Prompt").press("Control+Enter")
    expect(box.get_by_label("Answer")).to_contain_text(f"{model} {model}")
    box.get_by_role("button", name="Stop").click()
    expect(box.get_by_role("status")).to_have_text("stopped")
    expect(card(page, "Last requests")).to_contain_text("200, client left")
    say("streamed, and stopped")

    live(page, f"{url}/#/models/{embedder}")
    box.get_by_label("What to try").select_option("embedding")
    box.get_by_label("Prompt").fill("hi")
    box.get_by_role("button", name="Send").click()
    expect(box.get_by_label("Answer")).to_contain_text("16 numbers, length 1.000")
    say("embedded")

    # llama.cpp's own page, with this model.
    live(page, f"{url}/#/models/{model}")
    page.get_by_role("main").get_by_role("link", name="Chat", exact=True).click()
    expect(page.get_by_role("main").get_by_role("button", name=model, exact=True)).to_be_visible()
    say("chat with it")


def keys(page, url, model, other, *keys):
    """What people with these keys see of two models, from another machine; the last one is an admin's."""
    for key in keys:
        context = page.context.browser.new_context(
            http_credentials={"username": "any", "password": key},
            # As a proxy says it.
            extra_http_headers={"X-Forwarded-For": "192.0.2.1"},
        )
        page = context.new_page()
        live(page, url)
        expect(row(page, model)).to_be_visible()
        say("sees the other:", row(page, other).count() == 1)
        suspend = page.get_by_role("button", name=f"Suspend {model}")
        new = page.get_by_role("link", name="New model")
        why = page.locator("#rights")
        if key != keys[-1]:
            expect(why).to_be_visible()
            expect(suspend).to_be_hidden()
            expect(new).to_be_hidden()
            say(why.inner_text())
            continue
        suspend.click()
        expect(new).to_be_visible()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Suspend", exact=True).click()
        expect(dialog.get_by_role("alert").or_(page.locator(".toast"))).not_to_be_empty()
        say(dialog.get_by_role("alert").or_(page.locator(".toast")).inner_text())


FLOWS = {flow.__name__: flow for flow in [by_hand, keyboard, tries, keys]}
