"""herdsman's own page while some of its requests fail: each part says so, and heals."""

from playwright.sync_api import expect

from browser import say
from page_parts import card, live


def heals(page, url, model):
    """Requests fail for a while: a view, the last requests, a definition, a log."""
    live(page, url)
    main = page.get_by_role("main")
    page.route("**/plan.js", lambda route: route.abort())
    page.get_by_role("link", name="Plan").click()
    expect(main).to_contain_text("plan.js")
    page.unroute("**/plan.js")
    page.get_by_role("button", name="Load the page again").click()
    expect(page.get_by_role("heading", name="Plan")).to_be_visible()
    say("a view")

    page.get_by_role("link", name="Requests").click()
    expect(main).to_contain_text("Nobody has asked")
    page.route("**/api/activity*", lambda route: route.abort())
    expect(main).to_contain_text("fetch")
    page.unroute("**/api/activity*")
    expect(main).to_contain_text("Nobody has asked")
    say("the last requests")

    page.route("**/api/definitions/*", lambda route: route.abort())
    page.route("**/logs?*", lambda route: route.fulfill(status=503, json={"detail": "busy"}))
    page.goto(f"{url}/#/models/{model}")
    expect(card(page, "Definition")).to_contain_text("cannot be read now")
    expect(page.get_by_role("link", name="Edit")).to_be_hidden()
    expect(page.get_by_label("Log")).to_have_text("busy")
    page.unroute("**/api/definitions/*")
    page.unroute("**/logs?*")
    expect(card(page, "Definition")).to_contain_text("ctx_size = 512")
    expect(page.get_by_role("link", name="Edit")).to_be_visible()
    say("a definition")
    expect(page.get_by_label("Log")).to_contain_text("herdsman: instance ")
    say("a log")


FLOWS = {flow.__name__: flow for flow in [heals]}
