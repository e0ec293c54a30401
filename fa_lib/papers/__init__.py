"""The papers: what each trains, tabulates, draws and claims. `PAPERS` lists them in the order of the notebooks."""

from fa_lib.papers import jitter_loss, kd_loss, rendered_to_real, scaf, scoreboard, sd_hrnet, self_distillation

PAPERS = {paper.SLUG: paper for paper in (rendered_to_real, self_distillation, kd_loss, jitter_loss, sd_hrnet, scaf, scoreboard)}
