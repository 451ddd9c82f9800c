"""herdsman's own page in Chromium, where everything that others say is hostile.

    injected.py URL      HERDSMAN_TEST_CHROMIUM is the browser

Prints for each view how many elements came of texts; a dialog, a request to elsewhere
and a complaint of the browser are printed, too.
"""

import sys
from urllib.parse import quote, urlsplit

from playwright.sync_api import expect

from browser import browser_page, say, watch_for_problems

# What the corpus would make of a page that takes text for HTML.
THEIRS = "img, iframe, b, i, script:not([src]), [onerror], [onload], svg[onload]"


def count(page, view):
    say(f"{view}:", page.locator("main").locator(THEIRS).count())


def main(url):
    with browser_page() as page:
        problems = watch_for_problems(page)
        page.on("dialog", lambda dialog: (say("dialog:", dialog.message), dialog.dismiss()))
        here = urlsplit(url).netloc
        page.on("request", lambda asked: urlsplit(asked.url).netloc != here and say("request:", asked.url))

        main = page.get_by_role("main")
        page.goto(url)
        expect(main).to_contain_text("<img src=x onerror=alert(1)>")
        expect(main).to_contain_text("<script>alert(2)</script><b>bold</b>")
        count(page, "list")

        page.goto(f"{url}#/models/chat")
        expect(main).to_contain_text("onload=alert(3)")
        count(page, "model")
        expect(page.get_by_label("Log")).to_contain_text("javascript:alert(5)")
        count(page, "log")

        page.goto(f"{url}#/plan")
        expect(main).to_contain_text("definition")
        count(page, "plan")
        page.goto(f"{url}#/requests")
        expect(main).to_contain_text("alert(9)")
        count(page, "requests")
        page.goto(f"{url}#/machine")
        expect(main).to_contain_text("available")
        count(page, "machine")

        name = "<img src=x onerror=alert(1)>"
        page.goto(f"{url}#/models/{quote(name, safe='')}")
        expect(main).to_contain_text(name)
        count(page, "address")
        # One that is not managed has neither a reason nor a history to ask for.
        for problem in problems:
            if " 409" not in problem and not problem.startswith("409"):
                say("problem:", problem)


if __name__ == "__main__":
    main(sys.argv[1])
