"""A link that leads nowhere, and a page that loads from another host, are named."""

from pathlib import Path

import pytest

from fa_lib.report.links import broken

GOOD = """<h1 id="top">a</h1><a href="#top">1</a><a href="b.html#there">2</a><a href="folder/c.html">3</a><a href="#">4</a>
<a href="https://elsewhere.org/no/such/page">5</a><img src="data:image/png;base64,"><link rel="canonical" href="https://e.org">"""
WRONG = {
    '<a href="d.html">': "d.html is no file",
    '<a href="b.html#here">': "b.html#here is no place on that page",
    '<a href="#nowhere">': "#nowhere is no place on that page",
    '<img src="b.png">': "b.png is no file",
    '<script src="https://cdn.org/a.js"></script>': "https://cdn.org/a.js would be loaded from another host",
    '<link rel="stylesheet" href="//cdn.org/a.css">': "//cdn.org/a.css would be loaded from another host",
}


@pytest.mark.parametrize("wrong", ["", *WRONG])
def test_broken_links_are_named(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.html").write_text(GOOD + wrong)
    (tmp_path / "b.html").write_text('<a name="there" href="a.html#top">')
    (tmp_path / "folder" / "c.html").write_text('<a href="../b.html#there">')
    assert broken(tmp_path) == ([f"a.html: {WRONG[wrong]}"] if wrong else [])
