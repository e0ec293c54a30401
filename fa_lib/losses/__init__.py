"""Loss functions: one pure function an idea, one file a family. Composite losses return a dict of parts with "total"."""

from fa_lib.losses.adaptive_wing import adaptive_wing, wing
from fa_lib.losses.heatmap import heatmap_mse
from fa_lib.losses.heatmap_distillation import kl_maps, triple
from fa_lib.losses.jitter import geman_mcclure, jitter, modulation
from fa_lib.losses.knowledge_distillation import assistive, kd_loss, main_loss, weight
from fa_lib.losses.landmark import l2
from fa_lib.losses.reconstruction import discriminate, fool, reconstruction, structural, unsupervised
from fa_lib.losses.robust import l1, smooth_l1
from fa_lib.losses.self_distillation import elt, face_l2, scale, sct, self_distillation

__all__ = [
    "adaptive_wing",
    "assistive",
    "discriminate",
    "elt",
    "face_l2",
    "fool",
    "geman_mcclure",
    "heatmap_mse",
    "jitter",
    "kd_loss",
    "kl_maps",
    "l1",
    "l2",
    "main_loss",
    "modulation",
    "reconstruction",
    "scale",
    "sct",
    "self_distillation",
    "smooth_l1",
    "structural",
    "triple",
    "unsupervised",
    "weight",
    "wing",
]
