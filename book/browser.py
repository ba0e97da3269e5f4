"""Test the built book in a real browser, from disk and with the network off: ``make book-test``."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from book.chromium import chromium, narrow

HTML = Path(__file__).parent / "_build/html"
AXE = Path(__file__).parent / "_build/axe/package/axe.min.js"
PAGES = sorted(str(path.relative_to(HTML)) for path in HTML.rglob("*.html") if "_static" not in path.parts)
READ = [page for page in PAGES if page not in ("genindex.html", "py-modindex.html", "search.html")]
CHAPTERS = [page for page in READ if re.match(r"notebooks/0[1-5]", page)]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A browser that can open only files."""
    with chromium(offline=True) as driver:
        yield driver


def address(page: str) -> str:
    """Return the file URL of a page."""
    return (HTML / page.partition("?")[0]).as_uri() + ("?" + page.partition("?")[2] if "?" in page else "")


def test_the_book_was_built():
    assert "index.html" in READ
    assert len(CHAPTERS) == 5


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_without_a_complaint(browser, page):
    browser.get(address(page))
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_maths_is_typeset(browser, page):
    browser.get(address(page))
    browser.wait("return window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => true)")
    assert browser.execute_script("return document.querySelectorAll('mjx-container svg').length") >= 1
    assert browser.execute_script("return document.querySelectorAll('[data-mml-node=merror]').length") == 0
    assert r"\(" not in browser.execute_script("return document.querySelector('article').innerText")


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_slider_moved_by_keyboard_changes_the_figure(browser, page):
    browser.get(address(page))
    sliders = browser.find_elements("css selector", ".ftlab-explorer input[type=range]")
    assert sliders
    assert "Run this cell" not in browser.execute_script("return document.querySelector('.ftlab-explorer').innerText")
    for slider in sliders:
        state = "const box = arguments[0].closest('.ftlab-explorer'); const image = box.querySelector('img'); \
            return [image.src, image.alt, box.querySelector('p[aria-live]').innerText, arguments[0].value]"
        before = browser.execute_script(state, slider)
        to_the_right = int(before[3]) < int(slider.get_attribute("max"))
        slider.send_keys("\ue014" if to_the_right else "\ue012")  # the arrow keys
        after = browser.execute_script(state, slider)
        assert after[3] != before[3]
        assert after[1] == after[2] != before[1]
        assert (
            browser.execute_script(
                "return arguments[0].closest('.ftlab-explorer').querySelector('img').naturalWidth", slider
            )
            > 0
        )


def test_search_finds_the_sign(browser):
    browser.get(address("search.html?q=sign"))
    browser.wait("return document.querySelectorAll('#search-results li').length > 0")
    links = browser.execute_script("return [...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("05_sign_prune" in link for link in links)


@pytest.mark.parametrize("page", READ)
def test_nothing_scrolls_sideways_on_a_phone(browser, page):
    with narrow(browser, 380):
        browser.get(address(page))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 380


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", READ)
def test_contrast_passes(browser, page, theme):
    browser.get(address(page))
    browser.execute_script(
        "document.documentElement.dataset.theme = document.documentElement.dataset.mode = arguments[0]", theme
    )
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    violations = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run('article', {runOnly: ['color-contrast', 'image-alt', 'label']}).then(r => done(JSON.stringify(r.violations)))"
    )
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in json.loads(violations)] == []


class Links(HTMLParser):
    """Collects the link targets of a page and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := attributes.get(name))}
        if target := attributes.get("href" if tag in ("a", "link") else "src"):
            self.targets.append(target)


def read(page: Path) -> Links:
    """Return the links and anchors of a page."""
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def test_no_link_inside_the_book_is_broken():
    pages = {(HTML / page).resolve(): read(HTML / page) for page in PAGES}
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target) or target == "#":
                continue
            file, anchor = urldefrag(unquote(target))
            path = (page.parent / file.partition("?")[0]).resolve() if file else page
            missing = not path.exists() or (anchor and path in pages and anchor not in pages[path].anchors)
            if missing:
                broken.append((page.name, target))
    assert broken == []
