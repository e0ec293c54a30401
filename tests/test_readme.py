"""The README's numbers are those of the recorded tables, and its commands are those of the Makefile."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fa_lib import export, notebook, training
from fa_lib.data.crops import EXPAND, cut_face

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
RECORDED = ROOT / "figures" / "desk"


def as_markdown(table: pd.DataFrame) -> str:
    """A recorded table as the README shows it: a line a label, each metric with its interval."""
    metrics = list(dict.fromkeys(table["metric"]))
    lines = [f"| | {' | '.join(metrics)} |", f"|---{'|---' * len(metrics)}|"]
    for label, rows in table.groupby("label", sort=False):
        cells = [f"{r.value:.3g} [{r.low:.3g}, {r.high:.3g}]" for r in rows.set_index("metric").loc[metrics].itertuples()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("study", ["self_distillation", "rendered_to_real"])
def test_recorded_results_are_the_recorded_ones(study: str) -> None:
    assert as_markdown(pd.read_csv(RECORDED / study / "300w" / "tab01.csv")) in README


@pytest.mark.parametrize("table", ["300w/tab07", "300w/tab08", "tab07"])
def test_recorded_results_of_paper_2_are_the_recorded_ones(table: str) -> None:
    recorded = pd.read_csv(RECORDED / "kd_loss" / f"{table}.csv")
    assert as_markdown(recorded[recorded["split"] == "test"]) in README
    counts = pd.read_csv(RECORDED / "scaf" / "300w" / "claims.csv")["verdict"].value_counts().to_dict()
    assert counts == {"reproduced": 3, "not reproduced": 4, "undecided": 1, "no such data": 4}  # as the README says in words


@pytest.mark.parametrize("faces", [".", "300w"])
def test_verdicts_on_paper_2_are_the_recorded_ones(faces: str) -> None:
    found = pd.read_csv(RECORDED / "kd_loss" / faces / "claims.csv").groupby("verdict")["claim"].apply(set)
    reproduced, refuted = {"Soft landmarks are easier to learn"}, {"KD-Loss beats ASMNet"}
    if faces == ".":
        reproduced |= {"The tough teacher alone beats L2"}
        refuted |= {"The authors' own numbers do better than the paper's"}
    assert found["reproduced"] == reproduced and found["not reproduced"] == refuted and sum(map(len, found)) == 20


@pytest.mark.parametrize(("table", "split"), [("tab02", "scenario 3"), ("300w/tab01", "test")])
def test_recorded_results_of_paper_3_are_the_recorded_ones(table: str, split: str) -> None:
    recorded = pd.read_csv(RECORDED / "jitter_loss" / f"{table}.csv")
    assert as_markdown(recorded[recorded["split"] == split]) in README


@pytest.mark.parametrize("faces", [".", "300w"])
def test_verdicts_on_paper_3_are_the_recorded_ones(faces: str) -> None:
    found = pd.read_csv(RECORDED / "jitter_loss" / faces / "claims.csv").set_index("claim")["verdict"]
    networks = ("CPM+SBR", "LAB", "HRNetV2", "AWing")
    holds = [f"Fine-tuning {name} lowers the NME on 300-W" for name in networks]
    holds += [f"Fine-tuning {name} lowers the NRMSE on clips" for name in ("LAB", "AWing")]
    holds += ["PDC is steadier than argmax", "PDC is more accurate than argmax"]
    fails = [f"Fine-tuning {name} lowers the MCV by at least 40 %" for name in networks[1:]]
    fails += [
        "Jitter loss is steadier than L2",
        *(f"Jitter loss is more accurate than {name} on WFLW" for name in ("L2", "AWing loss")),
    ]
    assert set(found[holds]) == {"reproduced"} and set(found[fails]) == {"not reproduced"}
    assert found["It is steadier than a One-Euro filter at equal lag"] in ("undecided", "not reproduced")


def test_registration_suffers_most_from_noise() -> None:
    drawn = pd.read_csv(RECORDED / "jitter_loss" / "fig08.csv").query("kind == 'noise'").set_index(["level", "row"])["spread"]
    assert drawn[0.0].idxmin() == "cpm-sbr" and drawn[0.15].idxmax() == "cpm-sbr"


def test_mean_shape_is_the_recorded_one() -> None:
    drawn = pd.read_csv(RECORDED / "rendered_to_real" / "300w" / "fig01.csv").set_index("panel")
    assert f"looks at no picture, has {drawn.loc['baseline', 'nme']:.3g}." in README


def beside(columns: dict[str, pd.DataFrame]) -> str:
    """Recorded NMEs of several tables as the README shows them: a line a label, a column a table, "–" where there is none."""
    lines = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    tables = [table.query("metric == 'nme'").set_index("label") for table in columns.values()]
    for label in dict.fromkeys(label for table in tables for label in table.index):
        found = [table.loc[label] if label in table.index else None for table in tables]
        cells = ["–" if r is None else f"{r.value:.3g} [{r.low:.3g}, {r.high:.3g}]" for r in found]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def of_paper_4() -> dict[str, pd.DataFrame]:
    """Tables 2 and 3 at desk, whole test sets, by where networks learned and what they are shown."""
    folder = RECORDED / "sd_hrnet"
    photos, rendered, masked = (pd.read_csv(folder / f"{name}.csv") for name in ("300w/tab02", "tab02", "tab03"))
    return {
        "photographs": photos[photos["split"] == "test"],
        "rendered": rendered[rendered["split"] == "test"],
        "rendered, masked": masked[masked["split"] == "masked"],
    }


def test_recorded_results_of_paper_4_are_the_recorded_ones() -> None:
    assert beside(of_paper_4()) in README


@pytest.mark.parametrize("faces", [".", "300w"])
def test_verdicts_on_paper_4_are_the_recorded_ones(faces: str) -> None:
    found = pd.read_csv(RECORDED / "sd_hrnet" / faces / "claims.csv").set_index("claim")["verdict"]
    holds = ("Slimming keeps the NME within 3 % of the supernetwork's", "It is the masks: without them it is higher")
    fails = [
        "Distillation lowers the NME of the slim network",
        "Masks help beside both",
        "Distillation with masks cuts the error behind masks by two thirds",
    ]
    assert set(found[list(holds)]) == {"reproduced"} and set(found[fails]) == {"not reproduced"}
    assert found[["The teacher alone helps", "A peer helps beside the teacher"]].eq("undecided").all()


def test_residual_supernetworks_have_not_learned_rendered_faces() -> None:
    drawn = pd.read_csv(RECORDED / "sd_hrnet" / "fig06.csv").query("unit == 'residual'")
    assert drawn["nme"].min() > 20


def test_recorded_results_of_paper_5_are_the_recorded_ones() -> None:
    recorded = pd.read_csv(RECORDED / "scaf" / "300w" / "tab02.csv")
    assert as_markdown(recorded[recorded["split"] == "test"]) in README


def chosen_faces() -> pd.DataFrame:
    """Table 4's rows on photographs, a line a network and way to choose, a metric a number of labels."""
    recorded = pd.read_csv(RECORDED / "scaf" / "300w" / "tab05.csv").query("split == 'test'")
    recorded[["label", "metric"]] = recorded["label"].str.rsplit(", ", n=1, expand=True)
    return recorded


def test_recorded_choices_of_paper_5_are_the_recorded_ones() -> None:
    assert as_markdown(chosen_faces()) in README


def test_what_is_said_of_recorded_choices_is_so() -> None:
    values = chosen_faces().pivot(index="label", columns="metric", values="value")
    random = {net: values.loc[f"{net}, Random"] for net in ("SCAF", "3FabRec retrained")}
    others = values.drop(index=[f"{net}, Random" for net in random])
    more = pd.concat([line - random[label.split(",")[0]] for label, line in others.iterrows()])
    assert f"of {len(more)} cells {('no', 'one', 'two', 'three', 'four')[(more < 0).sum()]} are lower than theirs" in README
    assert f"none by more than {-more.min():.1f}" in README and f"others are up to {more.max():.1f} higher" in README
    table = pd.read_csv(RECORDED / "scaf" / "300w" / "tab02.csv").query("split == 'test'").set_index("row")["value"]
    assert f"errs by {table['fabrec-50']:.1f} % with them" in README and f"{table['fabrec-all']:.1f} % with all" in README
    sizes = ("all", "fifth", "tenth", "twentieth", "50")
    skips = [table[f"scaf-{size}"] - table[f"fabrec-{size}"] for size in sizes]
    assert f"at every number of labels, by {min(skips):.1f} to {max(skips):.1f} points" in README.replace("\n", " ")


def of_data_sets(table: pd.DataFrame) -> str:
    """The table of data sets as the README shows it."""
    lines = ["| set | points | faces or clips | who may download it | here as |", "|---|---|---|---|---|"]
    for name, row in table.iterrows():
        counts = row["faces"] if row["clips"] == "–" else f"{row['clips']} clips"
        cells = [f"`{name}`", str(row["points"]), counts, row["who may download it"], f"`{row['imitation']}`".replace("`–`", "–")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_data_sets_are_those_of_the_manifests() -> None:
    assert of_data_sets(notebook.data_sets()) in README


def test_example_without_torch_finds_what_torch_finds(tmp_path: Path, monkeypatch) -> None:
    """The README's text as it stands, on a photograph and a network of this test."""
    text = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert len(text.splitlines()) <= 20 and "torch" not in text

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 12, 64, stride=32)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 32 + 20 * self.conv(images).mean((2, 3)).unflatten(1, (6, 2))

    size, photo = 192, cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8), (240, 200))
    cv2.imwrite(str(tmp_path / "photo.jpg"), photo)
    export.to_onnx(Net(), tmp_path / "face.onnx", size)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(text, names)
    decoded = cv2.cvtColor(cv2.imread("photo.jpg"), cv2.COLOR_BGR2RGB)
    box = np.array([59.5, 49.5, 149.5, 149.5])  # the example's, as edges
    crop, _, matrix = cut_face(decoded, np.zeros((1, 2)), size, EXPAND, box)
    expected = (training.predict(Net(), crop[None])[0] - matrix[:, 2]) / matrix[0, 0]
    assert np.ptp(expected, axis=0).min() > 3
    np.testing.assert_allclose(names["landmarks"], expected, atol=0.01)


def test_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in re.findall(r"`?make ([a-z]+)", README)} <= targets
