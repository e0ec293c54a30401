"""Data sets: manifests and readers of the real ones, the renderer of the synthetic ones, crops, augmentation."""

from fa_lib.data.augment import Augment, Batch, Batches
from fa_lib.data.faces import Faces, load, no_faces
from fa_lib.data.manifests import verify

__all__ = ["Augment", "Batch", "Batches", "Faces", "load", "no_faces", "verify"]
