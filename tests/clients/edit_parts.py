"""Parts of the view that edits a definition, as a person finds them."""


def text_area(page):
    return page.get_by_label("Definition", exact=True)


def problems(page):
    return page.get_by_label("Problems")


def change(page, before, after):
    text_area(page).fill(text_area(page).input_value().replace(before, after))


def save(page):
    return page.get_by_role("button", name="Save")


def saved(page):
    """Waits in a `with` until a save is answered."""
    return page.expect_response(lambda answer: answer.request.method == "PUT" and "dry-run" not in answer.url)


def answer(page, choice):
    page.get_by_role("dialog").get_by_role("button", name=choice).click()


def edit(page, url, file):
    """Opens a definition, and waits until it is checked."""
    page.goto(f"{url}/#/edit/{file}")
    problems(page).get_by_text("Nothing is wrong with it").wait_for()
