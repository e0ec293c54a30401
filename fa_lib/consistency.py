"""The papers' printed tables against themselves: what must follow from what, and where it does not.

A number with two decimals says that the true one lies within half a hundredth of it, so each rule asks whether there can be true
numbers that round to what is printed; no tolerance is chosen. Some authors cut digits off instead of rounding: a line that only
then holds is marked. A row that breaks a rule is no target for a reproduction.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pandas as pd

from fa_lib import storage
from fa_lib.papers import PAPERS
from fa_lib.printed import Key, Printed, Range, change, faces, least, meet, span
from fa_lib.results import Claim

Check = tuple[
    Key, str, Callable[[bool], Range], str | None
]  # where, rule, what is expected (rounded or cut), text if not the cell's
MEANS = ("nme", "nme_pupil", "fr", "auc")  # of a test set, so that of two parts they are averaged by their faces
PARTS = {"test": ("common", "challenging"), "masked": ("masked common", "masked challenging")}
SEEDS = 5  # of paper 4: where something stands after +-, the number is a mean
LIMIT = 0.1  # the NME up to which the area under the curve of cumulative errors is taken, and above which a face has failed
WORST = 4.0  # no face's NME is greater: see `auc_bounds`
VIDEO = ("CPM+SBR", "FHR+STA")  # what paper 3 compares with on clips

# paper and table -> label -> what the same row is called in another table
ALIASES = {
    ("kd_loss", 8): {"L2": "mnv2", "KD-Loss": "mnv2_KD"},
    ("jitter_loss", 2): {"Best without PDC": "HRNetV2 fine-tuned", "Best with PDC": "AWing fine-tuned"},
    ("jitter_loss", 3): {"HRNetV2, Theta 1": "HRNetV2 fine-tuned", "LAB (4HG), Theta 1": "LAB fine-tuned"},
    ("jitter_loss", 4): {"0.2": "HRNetV2 fine-tuned"},
    ("sd_hrnet", 6): {"none": "S-HRNet", "teacher + peer + masks": "SD-HRNet1"},
    ("scaf", 1): {name: f"{name}, 100 %" for name in ("SA", "TS3", "3FabRec", "3FabRec retrained", "SCAF")},
    ("scaf", 4): {
        f"{network}, {how}, {size}": f"{name}, {size}" for size in ("50", "5 %", "10 %") for network, how, name in
        (("SCAF", "Random", "SCAF"), ("SCAF", "NNM10", "SCAF + AL"), ("3FabRec retrained", "Random", "3FabRec retrained"))
    },
}  # fmt: skip
COUNTED_AS = {"efn": "EfficientNet-B3", "mnv2_KD": "mnv2_KD", "ASMNet": "ASMNet"}  # paper 2: label of Table 6 -> of Table 5

# what the text says of a cell: its value, or its difference to that of another label, or (%) that difference in per cent
STATED = (
    ("kd_loss", 2, "mnv2_KD", "challenging", "nme", "-0.71", "mnv2"),
    ("kd_loss", 2, "mnv2_KD", "common", "nme", "-0.37", "mnv2"),
    ("kd_loss", 2, "mnv2_KD", "test", "nme", "-0.44", "mnv2"),
    ("kd_loss", 4, "mnv2_KD", "pose", "nme", "-1.0", "mnv2"),
    ("kd_loss", 4, "mnv2_KD", "pose", "fr", "-4.91", "mnv2"),
    ("kd_loss", 4, "mnv2_KD", "pose", "auc", "0.0209", "mnv2"),
    ("kd_loss", 5, "mnv2_KD", "network", "parameters", "2.2", ""),
    ("kd_loss", 5, "mnv2_KD", "network", "parameters", "2.44", ""),
    ("kd_loss", 8, "smooth L1", "challenging", "nme", "-0.51", "L2"),
    ("kd_loss", 8, "KD-Loss", "challenging", "nme", "-0.2", "smooth L1"),
    ("kd_loss", 8, "L1", "common", "nme", "3.93", ""),
    ("kd_loss", 8, "smooth L1", "common", "nme", "3.66", ""),
    ("kd_loss", 8, "KD-Loss", "common", "nme", "6.13", ""),
    ("sd_hrnet", 1, "SD-HRNet (300W)", "network", "parameters", "-89.5 %", "HRNet"),
    ("sd_hrnet", 1, "SD-HRNet (300W)", "network", "flops", "-86.3 %", "HRNet"),
    ("sd_hrnet", 1, "SD-HRNet (COFW)", "network", "parameters", "-88.7 %", "HRNet"),
    ("sd_hrnet", 1, "SD-HRNet (COFW)", "network", "flops", "-86.0 %", "HRNet"),
    ("sd_hrnet", 1, "SD-HRNet (300W)", "network", "parameters", "-70.0 %", "HRSuperNet"),
    ("sd_hrnet", 1, "SD-HRNet (300W)", "network", "flops", "-52.8 %", "HRSuperNet"),
    ("sd_hrnet", 2, "SD-HRNet1", "test", "nme", "2 %", "HRNet"),
    ("sd_hrnet", 2, "SD-HRNet1", "test", "nme", "-3 %", "S-HRNet"),
    ("sd_hrnet", 4, "SD-HRNet1", "test", "nme", "5 %", "HRNet"),
)
_PARTS, _SIZES = ("common", "challenging", "test"), ("20 %", "10 %", "5 %")
# cells that the text calls lower than a share of others: paper, table, label, split, metric, share, other labels
LOWER = (
    *(("jitter_loss", 2, "Best with PDC", f"scenario {n}", "mcv", 0.6, VIDEO) for n in (1, 2, 3)),
    ("jitter_loss", 2, "Best with PDC", "scenario 1", "mav", 0.6, VIDEO),
    *(("jitter_loss", 2, "Best without PDC", f"scenario {n}", "mav", 0.6, VIDEO) for n in (2, 3)),
    *(("scaf", 2, f"3FabRec retrained, {size}", part, "nme", 1, (f"3FabRec, {size}",)) for size in (*_SIZES, "50")
      for part in _PARTS),
    *(("scaf", 2, f"SCAF, {size}", part, "nme", 1, (f"3FabRec retrained, {size}",)) for size in ("100 %", *_SIZES)
      for part in _PARTS),
    *(("scaf", 2, f"SCAF + AL, {size}", "challenging", "nme", 1, (f"SCAF, {size}",)) for size in ("10 %", "5 %", "50")),
    *(("scaf", 2, f"SCAF, {size}", "common", "nme", 1, (f"SCAF + AL, {size}",)) for size in ("10 %", "5 %", "50")),
    *(("scaf", 3, f"SCAF, {size}", "test", "nme", 1, (f"3FabRec retrained, {size}",)) for size in ("100 %", *_SIZES)),
    *(("scaf", 4, f"{net}, K-center-greedy, {size}", "test", "nme", 1, (f"{net}, Random, {size}",))
      for net in ("3FabRec retrained", "SCAF") for size in ("50", "100", "200", "5 %", "10 %") if (net[0], size) != ("3", "50")),
)  # fmt: skip


def _averaged(printed: Printed, keys: list[Key], cut: bool) -> Range:
    """The mean over the faces of several parts."""
    weights = [faces(*printed.where(key)) for key in keys]
    spans = [printed.span(key, cut) for key in keys]
    return tuple(sum(w * s[end] for w, s in zip(weights, spans)) / sum(weights) for end in (0, 1))


def whole_sets(printed: Printed) -> Iterator[Check]:
    """The number on all 689 faces of 300-W is the mean of those on 554 common and 135 challenging ones, by their counts."""
    for table, label, split, metric in printed.text:
        keys = [(table, label, part, metric) for part in PARTS.get(split, ())]
        if metric in MEANS and keys and all(key in printed.text for key in keys):
            yield (table, label, split, metric), "mean of its parts", partial(_averaged, printed, keys), None


def failures(printed: Printed) -> Iterator[Check]:
    """A failure rate is a whole number of faces, or of faces and seeds where it is a mean over these."""
    for key, text in printed.text.items():
        if key[3] == "fr":
            runs = SEEDS if (*key[:3], "fr std") in printed.text else 1
            yield key, "whole number of faces", partial(_whole, float(text), 100 / (runs * faces(*printed.where(key)))), None


def _whole(value: float, step: float, _: bool) -> Range:
    """The whole number of steps that is nearest to a value."""
    found = round(value / step) * step
    return found, found


def pythagoras(printed: Printed) -> Iterator[Check]:
    """NRMSE^2 = bias^2 + std^2 (paper 1, equations 12-14): all three are over the same landmarks."""
    for key in printed.text:
        if key[3] == "nrmse":
            yield key, "root of bias^2 + std^2", partial(_hypotenuse, printed, key), None


def _hypotenuse(printed: Printed, key: Key, cut: bool) -> Range:
    sides = [printed.span((*key[:3], metric), cut) for metric in ("bias", "std")]
    return tuple(math.hypot(sides[0][end], sides[1][end]) for end in (0, 1))


def areas(printed: Printed) -> Iterator[Check]:
    """The area under the curve of cumulative errors fits the mean error and the failure rate of the same faces."""
    for key in printed.text:
        if key[3] == "auc":
            yield key, "within the bounds of NME and FR", partial(_area, printed, key), None


def _area(printed: Printed, key: Key, cut: bool) -> Range:
    nme, fr = ([end / 100 for end in printed.span((*key[:3], metric), cut)] for metric in ("nme", "fr"))
    return auc_bounds(tuple(nme), tuple(fr))


def auc_bounds(nme: Range, fr: Range) -> Range:
    """Between which values an AUC lies, given where mean error and failure rate lie, as shares.

    The curve up to t = 10 % has the area 1 - mean(min(e, t)) / t over the errors e of the faces. As min(e, t) <= e, that is at
    least 1 - NME / t. Of the mean, the share f of failures makes f t and the other faces NME - f m, where m is the mean error of
    the failures: the area is 1 - f - (NME - f m) / t, which grows with m, so that it is at most what m = WORST makes of it, and
    no more than 1 - f. WORST is 4 times the distance of the eyes: a prediction inside the crop is off by its diagonal at most,
    the crop is no more than 1.1 times the landmarks' box (paper 2, section 4.3), and the outer corners of the eyes are about 0.42
    of that box apart: 1.1 x sqrt(2) / 0.42 = 3.7. With one failure of WORST in 554 faces and an NME of 3.93 %, there are
    3.93 - 400 / 554 = 3.21 % left for the other faces:

    >>> tuple(round(end, 3) for end in auc_bounds((0.0393, 0.0393), (1 / 554, 1 / 554)))
    (0.607, 0.677)
    """
    f = min(max(nme[0] / WORST, fr[0]), fr[1])  # the area grows until failures alone can make the mean error, then it falls
    return max(0.0, 1 - nme[1] / LIMIT), 1 - f - max(0.0, nme[0] - f * WORST) / LIMIT


def arrows(printed: Printed) -> Iterator[Check]:
    """The arrow beside a number is its change in % against the network before, or the better of the methods made for video."""
    for table, label, split, metric in printed.text:
        if metric.endswith(" change"):
            name = metric.removesuffix(" change")
            before = (label.removesuffix(" fine-tuned"),) if label.endswith(" fine-tuned") else VIDEO
            keys = (table, label, split, name), [(table, other, split, name) for other in before]
            yield (table, label, split, metric), "change against the row before", partial(_changed, printed, *keys), None


def _changed(printed: Printed, key: Key, others: list[Key], _: bool) -> Range:
    return change(printed, key, others)


def products(printed: Printed) -> Iterator[Check]:
    """Paper 3's Tables 3 and 4 print products: of numbers beside them, and where Theta is 1, as everywhere else, of Table 2's."""
    for table, label, split, metric in printed.text:
        if "*" in metric:
            row = (2, ALIASES["jitter_loss", 3].get(label, "")) if table == 3 else (table, label)
            keys = [(*row, split, {"nrmse": "nrmse_all"}.get(name, name)) for name in metric.split("*")]
            if all(key in printed.text for key in keys):
                yield (table, label, split, metric), "product of both", partial(_product, printed, keys), None


def _product(printed: Printed, keys: list[Key], cut: bool) -> Range:
    spans = [printed.span(key, cut) for key in keys]
    return tuple(math.prod(one[end] for one in spans) for end in (0, 1))


def repeats(printed: Printed) -> Iterator[Check]:
    """A number that is printed twice is the same number."""
    first: dict[tuple, Key] = {}
    for key in printed.text:
        table, label, _, metric = key
        if metric.endswith((" change", " std")):
            continue
        names = ALIASES.get((printed.paper.SLUG, table), {})
        other = first.setdefault((*printed.where(key), metric, names.get(label, label)), key)
        if other != key:
            yield key, f"the same as table {other[0]}, {other[1]}", partial(printed.span, other), None


def sizes(printed: Printed) -> Iterator[Check]:
    """A network of more parameters is a larger file (paper 2, Tables 5 and 6)."""
    cells = {(6, label, "network", "fp32"): (5, name, "network", "parameters") for label, name in COUNTED_AS.items()}
    cells = {key: float(printed.text[count]) for key, count in cells.items() if key in printed.text}
    for key, count in cells.items():
        smaller = [printed.span(other)[0] for other in cells if cells[other] < count]
        larger = [printed.span(other)[1] for other in cells if cells[other] > count]
        found = max(smaller, default=0.0), min(larger, default=math.inf)
        yield key, "in the order of the parameters", lambda _, found=found: found, None


def claims(printed: Printed) -> Iterator[Check]:
    """The paper's own difference in a claim of ours is that of its two rows in a table, where the paper has both."""
    for claim in printed.paper.CLAIMS:
        here = _gaps(printed, claim, claim.dataset, claim.split)
        if claim.paper is None or not here:
            continue
        there = _gaps(printed, claim, *claim.than) if claim.than else {None: 0.0}
        found = min((a - b for a in here.values() for b in there.values()), key=lambda gap: abs(gap - claim.paper))
        key = next(iter(here))
        text = f"{claim.paper:.{len(printed.text[key].partition('.')[2])}f}"
        yield key, f"claim: {claim.text}", lambda _, found=found: (found, found), text


def _gaps(printed: Printed, claim: Claim, dataset: str | None, split: str) -> dict[Key, float]:
    """The differences between a claim's two rows, in each table that has both."""
    found = {}
    for key, text in printed.text.items():
        rows = printed.tables[key[0]].rows
        if printed.where(key) == (dataset or "300w", split) and key[3] == claim.metric and rows.get(key[1]) == claim.ours:
            others = [(key[0], label, *key[2:]) for label, row in rows.items() if row == claim.other]
            found.update((key, float(text) - float(printed.text[other])) for other in others if other in printed.text)
    return found


def statements(printed: Printed) -> Iterator[Check]:
    """What the text repeats or derives from a table, and which rows it calls better than others."""
    slug = printed.paper.SLUG
    for table, label, split, metric, text, other in (said[1:] for said in STATED if said[0] == slug):
        key, base = (table, label, split, metric), (table, other, split, metric) if other else None
        rule = f"the text: against {other}" if other else "the text"
        yield key, rule, partial(_stated, printed, key, base, text.endswith("%")), text
    for table, label, split, metric, share, others in (said[1:] for said in LOWER if said[0] == slug):
        rule = f"the text: lower than {'' if share == 1 else f'{share:g} of '}{' and '.join(others)}"
        keys = [(table, other, split, metric) for other in others]
        yield (table, label, split, metric), rule, partial(_below, printed, keys, share), None
    if slug == "jitter_loss":
        key = (2, "all fine-tuned networks", "all scenarios", "nrmse_all change")
        yield key, "the text: mean change", partial(_mean_change, printed), "-14"


def _stated(printed: Printed, key: Key, base: Key | None, relative: bool, cut: bool) -> Range:
    if relative:
        return change(printed, key, [base])
    one, other = printed.span(key, cut), printed.span(base, cut) if base else (0.0, 0.0)
    return one[0] - other[1], one[1] - other[0]


def _below(printed: Printed, keys: list[Key], share: float, _: bool) -> Range:
    return -math.inf, share * least(printed, keys)[1]


def _mean_change(printed: Printed, _: bool) -> Range:
    """Of NRMSE over the three networks and scenarios of paper 3's Table 2."""
    cells = [key for key in printed.text if key[0] == 2 and key[1].endswith(" fine-tuned") and key[3] == "nrmse_all"]
    changes = [change(printed, key, [(2, key[1].removesuffix(" fine-tuned"), *key[2:])]) for key in cells]
    return tuple(sum(one[end] for one in changes) / len(changes) for end in (0, 1))


RULES = (whole_sets, failures, pythagoras, areas, arrows, products, repeats, sizes, claims, statements)


def check() -> pd.DataFrame:
    """Every rule on every number of figures/published that it speaks of, a line each.

    Columns: paper, table, label, split, metric, rule; `printed`, as the paper has it; `low` and `high`, between which it must
    lie; `holds`, whether a number that rounds to `printed` lies there; `cut`, where it does not, whether it does if this paper
    cuts digits off instead of rounding. Where `printed` is the text's, or a claim's, the rule says so.

    >>> check().query("paper == 'self_distillation' and not holds")[["table", "label", "rule", "printed"]].to_numpy().tolist()
    [[1, 'SAN', 'root of bias^2 + std^2', '22.6']]
    """
    lines = []
    for slug, paper in PAPERS.items():
        if not (storage.PROJECT / "figures" / "published" / f"{slug}.csv").exists():
            continue  # a study of our own
        printed = Printed(paper)
        for key, rule, expected, said in (found for of in RULES for found in of(printed)):
            text = said or printed.text[key]
            holds, cut = (meet(span(text.removesuffix(" %"), how), expected(how)) for how in (False, True))
            low, high = expected(False)
            told = dict(zip(("paper", "table", "label", "split", "metric"), (slug, *key)))
            lines.append(
                {**told, "rule": rule, "printed": text, "low": low, "high": high, "holds": holds, "cut": cut and not holds}
            )
    return pd.DataFrame(lines)
