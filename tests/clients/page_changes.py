"""What happens to models while herdsman's own page is open: the test makes it happen."""

import re

from playwright.sync_api import expect

from browser import picture, say
from page_parts import card, fact, live, row, stays, status


def edits(page, url, model):
    """A wrong edit, one that restarts, and one whose server dies."""
    live(page, url)
    expect(row(page, model)).to_contain_text("running")
    is_same = stays(page)
    say("open")
    expect(row(page, model)).to_contain_text("llama-server has no option `ctx_sise`")
    page.get_by_role("button", name="needs attention").click()
    expect(page.locator("tbody.models > tr")).to_have_count(1)
    picture(page, "wrong")
    row(page, model).get_by_role("link", name=model).click()
    line = page.locator(".line.error")
    expect(line).to_contain_text("llama-server has no option `ctx_sise`")
    expect(status(page)).to_have_text("running")
    say("wrong: line", line.get_attribute("data-number"))

    expect(fact(page, "Generation")).to_have_text("2")
    expect(status(page)).to_have_text("running")
    expect(card(page, "Generations")).to_contain_text("ctx_size 512 -> 1024")
    expect(page.locator(".line.change")).to_contain_text("changed in generation 2")
    say("restarted: line", page.locator(".line.change").get_attribute("data-number"))

    expect(fact(page, "Generation")).to_have_text("2 → 3")
    expect(status(page)).to_have_text("running")
    expect(card(page, "Why")).to_contain_text("generation 3 failed")
    expect(card(page, "Generations")).to_contain_text(re.compile("failed: (llama_model_load|exit status 1)"))
    picture(page, "rolled_back")
    say("rolled back")
    say("without a reload:", is_same())


def busy_views(page, url, model, broken):
    """Plan and Machine while one model runs and the definition of another is wrong."""
    live(page, f"{url}/#/plan")
    expect(card(page, "Waiting")).to_contain_text(f"left unchanged: models.d/{broken}.toml:3")
    expect(card(page, "Problems of the definitions")).to_contain_text("did you mean `ctx_size`?")
    page.get_by_role("link", name="Machine").click()
    expect(card(page, "Memory").get_by_role("row", name=model)).to_contain_text("MiB")
    expect(card(page, "llama-server").get_by_role("row", name=model)).to_contain_text("/llama-server")
    say("plan and machine")


def crash(page, url, model):
    """A server that is killed, and comes back."""
    live(page, f"{url}/#/models/{model}")
    expect(status(page)).to_have_text("running")
    process = fact(page, "Process").inner_text()
    is_same = stays(page)
    say("open")
    expect(card(page, "History")).to_contain_text("crashed")
    say("crashed")
    expect(fact(page, "Process")).not_to_have_text(process)
    expect(status(page)).to_have_text("running")
    say("runs again, without a reload:", is_same())


def log(page, url, model):
    """The tail of a log that is shortened, and goes on in the file of the next server."""
    live(page, f"{url}/#/models/{model}")
    text = page.get_by_label("Log")
    expect(text).to_contain_text("listening on")
    say("open")
    expect(text).to_contain_text("before the rotation")
    say("followed")
    expect(text).to_contain_text("after the rotation")
    say("holes:", "\0" in text.inner_text())
    is_at_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 30"
    say("at its end:", text.evaluate(is_at_end))


FLOWS = {flow.__name__: flow for flow in [edits, crash, log, busy_views]}
