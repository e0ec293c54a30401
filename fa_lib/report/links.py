"""Links of a built site: every one that stays inside it must lead somewhere, and nothing may be loaded from elsewhere."""

from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "img": "src",
    "script": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "link": "href",
}  # by the browser, unasked
SAID = {"canonical", "author", "license"}  # `rel` of a <link> that is only said, not loaded
Tags = list[tuple[str, dict[str, str]]]


def broken(site: Path) -> list[str]:
    """The links of all pages that lead nowhere inside the site, and what pages would load from other hosts; as "page: link".

    External links that a reader may click are left alone, and never requested.
    """
    pages = [page for page in sorted(site.rglob("*.html")) if "_static" not in page.relative_to(site).parts]  # parts of the theme
    tags = cache(_tags)
    return [f"{page.relative_to(site)}: {said}" for page in pages for tag in tags(page) if (said := _complaint(page, tag, tags))]


def _complaint(page: Path, tag: tuple[str, dict[str, str]], tags: Callable[[Path], Tags]) -> str:
    name, attributes = tag
    link, loads = attributes.get(LOADS.get(name, "href"), ""), name in LOADS and attributes.get("rel") not in SAID
    parts = urlsplit(link)
    if parts.scheme == "data" or link in ("", "#"):
        return ""
    if parts.scheme or parts.netloc:
        return f"{link} would be loaded from another host" if loads else ""
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_file():
        return f"{link} is no file"
    anchor = unquote(parts.fragment)
    if loads or not anchor or any(anchor in (found.get("id"), found.get("name")) for _, found in tags(file)):
        return ""
    return f"{link} is no place on that page"


def _tags(page: Path) -> Tags:
    """The tags of a page that have attributes."""
    found: Tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, {key: value or "" for key, value in attributes}))
    parser.feed(page.read_text(encoding="utf-8"))
    return found
