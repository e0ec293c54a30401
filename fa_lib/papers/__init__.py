"""The papers: what each trains, tabulates, draws and claims. `PAPERS` lists them in the order of the notebooks."""

from fa_lib.papers import self_distillation

PAPERS = {paper.SLUG: paper for paper in (self_distillation,)}
