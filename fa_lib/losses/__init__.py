"""Loss functions: one pure function an idea, one file a family. Composite losses return a dict of parts with "total"."""

from fa_lib.losses.heatmap import heatmap_mse
from fa_lib.losses.landmark import l2
from fa_lib.losses.self_distillation import elt, face_l2, scale, sct, self_distillation

__all__ = ["elt", "face_l2", "heatmap_mse", "l2", "scale", "sct", "self_distillation"]
