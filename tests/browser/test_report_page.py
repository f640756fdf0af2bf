"""The report in a real browser, opened as a file: it sorts, drills down, stays within a phone's width, and asks for nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from written_runs import image_run, regression_run, with_everything

from browser.conftest import Browser
from dlcli.report.report import write_comparison, write_report

HUNDRED = [f"species {number}" for number in range(100)]
HOSTILE = ("<img src=x onerror=hacked=1>", "</script><script>hacked=1</script>", "' onmouseover='hacked=1", "a\nb")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    few = with_everything(image_run(folder, ("cat", "dog", "owl"), name="few"))
    numbers = regression_run(folder, name="numbers")
    return {
        "hundred": write_report(image_run(folder, HUNDRED, name="hundred")),
        "few": write_report(few),
        "numbers": write_report(numbers),
        "hostile": write_report(with_everything(image_run(folder, HOSTILE, name="hostile", ids="{}" + HOSTILE[0]))),
        "both": write_comparison([few, numbers], folder / "both.html"),
    }


ALL = ("hundred", "few", "numbers", "hostile", "both")


@pytest.mark.parametrize("name", ALL)
def test_a_page_opens_from_a_file_without_a_complaint_and_asks_for_nothing(
    name: str, pages: dict[str, Path], browser: Browser
) -> None:
    browser.open(pages[name])
    assert pages[name].stat().st_size < 5_000_000
    assert browser.complaints() == []
    asked = [address for address in browser.requests() if not address.startswith("data:")]
    assert asked == [pages[name].as_uri()]
    assert browser.run("return [...document.images].every((image) => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("name", ALL)
def test_a_phone_needs_no_scrolling_sideways(name: str, pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages[name], width=360, height=780)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    assert browser.run("return window.innerWidth") == 360


def test_hostile_names_run_nothing(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hostile"])
    browser.run("document.querySelectorAll('.matrix td').forEach((cell) => cell.click())")
    browser.run("document.querySelectorAll('.sort button').forEach((button) => button.click())")
    assert browser.run("return typeof hacked") == "undefined"
    assert HOSTILE[0] in browser.texts(".classes tbody th")
    assert browser.complaints() == []


def column(browser: Browser, number: int) -> list[float]:
    cells = browser.run(
        f"return [...document.querySelectorAll('.classes tbody tr')].map((row) => row.cells[{number}].dataset.v)"
    )
    return [float(cell) for cell in cells]


def test_a_click_on_a_heading_sorts_and_another_turns_the_order(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hundred"])
    before = column(browser, 3)
    heading = browser.find(".classes th:nth-child(4)")
    heading.find_element("tag name", "button").click()
    assert column(browser, 3) == sorted(before) != before
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("tag name", "button").click()
    assert column(browser, 3) == sorted(before, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"


def test_names_sort_as_people_count_and_by_the_keyboard(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hundred"])
    browser.find(".classes th:nth-child(2) button").click()
    press(browser, browser.find(".classes th:nth-child(1) button"), "Enter")
    assert browser.texts(".classes tbody th")[:12] == HUNDRED[:12]


def press(browser: Browser, element: Any, key: str) -> None:
    """Presses a key as a user does, with the focus on an element."""
    from selenium.webdriver.common.keys import Keys

    browser.run("arguments[0].focus()", element)
    element.send_keys(getattr(Keys, key.upper()))


def confused(browser: Browser) -> tuple[int, int]:
    """Returns row and column of a confusion that has pictures and is not among the first."""
    found = browser.run("return document.querySelector('.pair[hidden] img').closest('.pair').dataset.at")
    row, column = found.split("-")
    return int(row), int(column)


def cell(browser: Browser, row: int, column: int) -> Any:
    return browser.find(f".matrix tbody tr:nth-child({row + 1}) td:nth-child({column + 2})")


def test_a_click_on_a_cell_shows_its_examples(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hundred"])
    assert len(browser.texts(".pair")) == 6
    row, column = confused(browser)
    browser.run("arguments[0].scrollIntoView({block: 'center'})", cell(browser, row, column))
    cell(browser, row, column).click()
    assert browser.texts(".drilled") == [f"{HUNDRED[row]} predicted as {HUNDRED[column]}"]
    assert len(browser.texts(".pair")) == 1
    assert browser.run("return document.querySelector('.pair:not([hidden]) img').naturalWidth") == 96
    browser.find(".back").click()
    assert browser.texts(".drilled") == ["Most often confused"]
    assert len(browser.texts(".pair")) == 6


def test_a_right_cell_and_an_empty_one_say_what_they_are(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["few"])
    cell(browser, 0, 0).click()
    assert browser.texts(".drilled") == ["Right: cat"]
    assert "Only errors have examples here." in browser.texts(".answer")[0]
    browser.run("document.querySelector('.matrix tbody td:empty').click()")
    assert browser.texts(".answer") == ["There are no such examples."]


def test_a_cell_under_the_pointer_says_label_prediction_count_and_share(pages: dict[str, Path], browser: Browser) -> None:
    from selenium.webdriver import ActionChains

    browser.open(pages["few"])
    one = cell(browser, 1, 1)
    browser.run("arguments[0].scrollIntoView({block: 'center'})", one)
    ActionChains(browser.driver).move_to_element(one).perform()
    count = int(one.text)
    assert browser.texts("#tip") == [f"label dog, predicted dog: {count} ({100 * count / 6:.1f} % of the label's 6)"]


def test_the_matrix_is_walked_and_chosen_from_by_the_keyboard(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hundred"])
    assert len(browser.run("return [...document.querySelectorAll('.matrix [tabindex]')]")) == 1
    press(browser, cell(browser, 0, 0), "Arrow_Right")
    focus = browser.driver.switch_to.active_element
    assert browser.run("return arguments[0].cellIndex", focus) == 2
    assert focus.get_attribute("aria-label").startswith(f"label {HUNDRED[0]}, predicted {HUNDRED[1]}: ")
    press(browser, focus, "Enter")
    assert focus.get_attribute("aria-selected") == "true"
    press(browser, focus, "Escape")
    assert browser.texts(".drilled") == ["Most often confused"]


def ground(browser: Browser) -> str:
    return str(browser.run("return getComputedStyle(document.body).backgroundColor"))


def test_colours_follow_the_system_and_the_switch(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["few"])
    light = ground(browser)
    browser.media("dark")
    dark = ground(browser)
    assert dark != light
    switch = browser.find("#theme")
    switch.click()
    assert (switch.text, ground(browser)) == ("Colours: light", light)
    browser.media("light")
    switch.click()
    assert (switch.text, ground(browser)) == ("Colours: dark", dark)
    switch.click()
    assert (switch.text, ground(browser)) == ("Colours: system default", light)


def test_print_has_no_controls_and_opens_what_is_folded(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["hundred"])
    browser.run(
        "addEventListener('beforeprint', () => { window.folded = document.querySelectorAll('details:not([open])').length; })"
    )
    assert browser.run("return document.querySelectorAll('details:not([open])').length") > 0
    document = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(document["data"]).startswith(b"%PDF")
    assert browser.run("return window.folded") == 0
    browser.media("light", "print")
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert [browser.run(shown, selector) for selector in ("nav", "#theme")] == ["none", "none"]
    assert browser.run("return getComputedStyle(document.querySelector('.tall')).maxHeight") == "none"


def test_a_link_to_a_folded_run_opens_it(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["both"])
    browser.find("nav a[href='#run1']").click()
    assert browser.run("return document.getElementById('run1').open")
    assert browser.complaints() == []
