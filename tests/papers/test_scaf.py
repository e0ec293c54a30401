"""Paper 5's rows: how many labels each has, which round follows which, and that tables and claims name rows there are."""

import itertools
from pathlib import Path

import pytest

from fa_lib import results, runs
from fa_lib.errors import InputError
from fa_lib.papers import scaf
from fa_lib.papers.scaf_training import Acquired, Source
from fa_lib.study import Study


def source(dataset: str, faces: int, root: str | None = None) -> Source:
    name = dataset if root else f"synthetic/{dataset}"
    return Source(name, 64, None, None, 1, 2, faces=faces, fingerprint="0", root=root)


def rounds(run: runs.Run) -> list[int]:
    """How many labels each round adds, the first ones first."""
    labels = run.config.labels
    return [*rounds(labels.previous), labels.count] if isinstance(labels, Acquired) else [labels.count]


@pytest.mark.parametrize(
    ("dataset", "budget", "total", "added"),
    [
        ("300w", "tenth", 315, [10, 60, 60, 60, 60, 60, 5]),
        ("300w", "50", 50, [10, 10, 10, 10, 10]),
        ("wflw", "tenth", 750, [10, 100, 100, 100, 100, 100, 100, 100, 40]),
        ("wflw", "twentieth", 375, [10, 75, 75, 75, 75, 65]),
        ("wflw", "200", 200, [10, 40, 40, 40, 40, 30]),
        ("wflw", "100", 100, [10, 20, 20, 20, 20, 10]),
    ],
)
def test_rounds_are_those_of_section_4_2(dataset: str, budget: str, total: int, added: list[int]):
    faces = source(dataset, scaf.OFFICIAL[dataset][0])
    for net, function in itertools.product(scaf.NETWORKS, scaf.FUNCTIONS):
        last = scaf.run(f"{net}-{function}-{budget}", "paper", 3, faces)
        assert rounds(last) == added and sum(added) == total and last.row == f"{net}-{function}-{budget}"
        first = last
        while isinstance(first.config.labels, Acquired):
            assert (first.config.labels.function, first.config.labels.share) == scaf.FUNCTIONS[function]
            first = first.config.labels.previous
        assert first == scaf.run(f"{net}-start", "paper", 3, faces) and first.config.skips == (net == "scaf")


def test_nested_rounds_are_the_smaller_budgets():
    faces = source("wflw", 3000)
    assert rounds(scaf.run("scaf-nnm10-tenth", "desk", 0, faces)) == [10, 40, 50, 50, 50, 100]
    previous = scaf.run("scaf-nnm10-200", "desk", 0, faces).config.labels.previous
    assert previous == scaf.run("scaf-nnm10-twentieth", "desk", 0, faces)  # 150 labels
    assert rounds(scaf.run("scaf-nnm10-tenth", "desk", 0, source("300w", 3000))) == [10, 40, 100, 150]


def test_budgets_of_as_many_labels_are_one_run():
    faces = source("wflw", scaf.SETTINGS["quick"].faces)
    for net in ("scaf", "scaf-nnm", "fabrec-kcenter"):
        for one, other in (("50", "twentieth"), ("100", "tenth")):
            assert scaf.run(f"{net}-{one}", "quick", 0, faces) == scaf.run(f"{net}-{other}", "quick", 0, faces)
    assert scaf.run("scaf-50", "quick", 0, faces) != scaf.run("scaf-50", "quick", 1, faces)
    assert rounds(scaf.run("scaf-nnm-tenth", "smoke", 0, source("300w", 24))) == [1, 1]  # 2, as 5 % are 1


def test_one_auto_encoder_for_all_rows_of_a_profile():
    rendered, real = source("300w", 600), source("300w", 600, root="somewhere")
    shared = {scaf.run(row, "quick", seed, rendered).config.autoencoder for row in ("scaf-50", "fabrec-all") for seed in (0, 1)}
    shared |= {scaf.run("fabrec-nnm-100", "quick", 1, source("wflw", 500)).config.autoencoder}
    assert shared == {scaf.run("autoencoder", "quick", 4, rendered)}
    other = scaf.run("autoencoder", "quick", 0, real)
    assert other not in shared and other.config.faces == 600 + scaf.SETTINGS["quick"].pool


def test_rows_differ_by_what_they_are_called():
    every = [scaf.run(row, "full", 0, source("wflw", 7500)) for row in scaf.ROWS if not row.endswith("-fifth")]
    assert len({run.hash for run in every}) == len(every) and {run.row for run in every} < set(scaf.ROWS)
    two, first = (scaf.run(row, "full", 0, source("wflw", 7500)).config for row in ("fabrec-two-50", "fabrec-first-50"))
    assert two.two_stages and not first.two_stages and first.labels.first and first.labels.count == 50
    with pytest.raises(InputError, match="scaf has no row 'scaf-51', did you mean 'scaf-50'"):
        scaf.run("scaf-51", "full", 0, source("wflw", 7500))


def test_too_few_faces_for_a_budget_are_refused():
    few = source("300w", 40)
    with pytest.raises(InputError, match="50 labels of 40 training faces: ask for 1 to 40"):
        scaf.run("scaf-50", "desk", 0, few).config.labels.pick(scaf.run("scaf-50", "desk", 0, few), few.faces)


def test_random_subsets_have_five_seeds(stores):
    study = Study(scaf, "quick")
    assert study.seeds_of("scaf-50") == (0, 1, 2, 3, 4) and study.seeds_of("scaf-nnm10-50") == (0, 1) == study.seeds_of(
        "scaf-all"
    )
    assert Study(scaf, "quick", seeds=1).seeds_of("scaf-50") == (0,) and Study(scaf, "smoke").seeds_of("scaf-50") == (0, 1)


def test_rows_of_one_data_set_are_trained_there_alone(stores):
    study = Study(scaf, "smoke")
    assert {"autoencoder", "scaf-start", "fabrec-first-50", "scaf-nnm10-tenth"} <= set(study.rows)
    assert not {"scaf-nnm-50", "fabrec-kcenter-tenth", "scaf-100"} & set(study.rows)
    assert {"scaf-nnm-50", "fabrec-kcenter-tenth", "scaf-100"} <= set(study.on("wflw").rows)
    assert set(study.rows) | set(study.on("wflw").rows) == set(scaf.ROWS)
    assert sorted(row for chain in scaf.chains() for row in chain) == sorted(scaf.ROWS)


def test_tables_and_claims_name_what_is_there():
    printed = results.published(scaf)
    for table in scaf.TABLES[:4]:
        found = printed[printed["table"] == table.number]
        ours = {label for label, row in table.rows.items() if row}
        assert set(found["label"]) <= set(table.rows) and set(found["split"]) == set(table.splits)
        assert set(table.rows) - set(found["label"]) <= {"3FabRec retrained, first 50"} and ours
        assert {table.rows[label] for label in ours} <= set(scaf.ROWS)
    assert {row for claim in scaf.CLAIMS for row in (claim.ours, claim.other)} <= set(scaf.ROWS)


def test_table_4_is_made_on_photographs_where_there_are_any(own_data: Path, stores):
    rendered, photographs = Study(scaf, "smoke"), Study(scaf, "smoke", str(own_data))
    assert [table.number for table in rendered.tables] == [1, 2, 3, 4]
    assert [table.number for table in photographs.tables] == [1, 2, 3, 4, 5]
    four, five = (results.numbered(scaf, number).rows for number in (4, 5))
    assert five == {label: row for label, row in four.items() if row.rsplit("-")[-1] in scaf.BUDGETS["300w"]}
    assert set(five.values()) <= set(photographs.rows) and "scaf-kcenter-50" not in rendered.rows
    # two of the parts of 300-W are open to everybody, with 2,009 faces to learn from: Table 4's budgets are all there
    assert [scaf.labels(budget, 2009) for budget in scaf.BUDGETS["300w"]] == [50, 100, 201]


@pytest.mark.parametrize("claim", [c for c in scaf.CLAIMS if c.paper is not None and c.than is None], ids=lambda c: c.text)
def test_differences_of_claims_are_the_printed_ones(claim: results.Claim):
    printed, tables = results.published(scaf), [t for t in scaf.TABLES if (t.dataset or None) == claim.dataset and t.number > 1]
    labels = [{row: label for label, row in table.rows.items()} for table in tables]
    named = [(t.number, n[claim.ours], n[claim.other]) for t, n in zip(tables, labels) if {claim.ours, claim.other} <= set(n)]
    number, *both = named[0]
    cells = printed[(printed["table"] == number) & (printed["split"] == claim.split)].set_index("label")["value"]
    assert cells[both[0]] - cells[both[1]] == pytest.approx(claim.paper, abs=1e-9)
