"""What the pages say: every claim with its verdict and age, every data set with its terms, every module."""

from pathlib import Path

from fa_lib import verdicts
from fa_lib.data import manifests
from fa_lib.papers import self_distillation
from fa_lib.report import pages


def test_claims_of_changed_code_are_stale(figures: Path) -> None:
    claims = verdicts.collect("smoke", figures=figures)
    text = pages.claims_of(claims)
    assert text.count(" (stale) |") == len(self_distillation.CLAIMS) - 5
    lines = [line for line in text.splitlines() if line.startswith("| " + self_distillation.CLAIMS[0].text)]
    assert len(lines) == 1 and "| reproduced | -2 [-3, -1] |" in lines[0]
    assert "Not measured at this profile yet:" in text and "`scaf`" in text


def test_every_data_set_is_there_with_its_terms_and_traps() -> None:
    said = " ".join(pages.data().split())
    for name in manifests.names():
        one = manifests.load(name)
        assert all(" ".join(text.split()) in said for text in (f"## {one.title}", one.terms, *one.traps))


def test_every_module_has_its_place() -> None:
    said = "\n".join(pages.package().values())
    for module in ("fa_lib.geometry", "fa_lib.losses.jitter", "fa_lib.data.readers.w300", "fa_lib.papers.scaf_training"):
        assert f".. automodule:: {module}\n" in said
