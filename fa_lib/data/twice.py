"""Faces that were labelled twice: how much annotators differ, and how much a network's two looks at one face differ."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Generator

from fa_lib.data import readers
from fa_lib.data.augment import Augment
from fa_lib.data.crops import EXPAND, cut_face
from fa_lib.data.faces import Faces
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images

# a second photograph of the same face: a little turned, moved, lit otherwise
LOOK = Augment(scale=(0.95, 1.05), degrees=5, shift=0.02, brightness=0.05, contrast=0.1, noise=0.02)


@dataclass(frozen=True)
class Twice:
    """N faces, each seen in two pictures (N, size, size, 3) with an annotation of its own (N, K, 2).

    `second_labels` are in pixels of the first picture, and `back` moves what is found in the second picture there, too.
    """

    first: np.ndarray
    second: np.ndarray
    first_labels: np.ndarray
    second_labels: np.ndarray
    back: Affine
    group: np.ndarray

    def bring_back(self, found: np.ndarray) -> np.ndarray:
        """Landmarks (N, K, 2) found in the second pictures, in pixels of the first."""
        return apply_to_landmarks(self.back, torch.from_numpy(found)).numpy()


def nothing(size: int, landmarks: int) -> Twice:
    """No pairs at all, in the shape of pairs: what a data set has in which nobody labelled a face twice."""
    pictures, labels = np.zeros((0, size, size, 3), np.uint8), np.zeros((0, landmarks, 2), np.float32)
    return Twice(pictures, pictures, labels, labels, Affine.identity(0), np.array([], str))


def rendered(faces: Faces) -> Twice:
    """Rendered faces with their two annotators; the second picture is the first, slightly moved and lit otherwise."""
    assert faces.second is not None
    generator = Generator().manual_seed(0)
    affine, _ = LOOK.affine(len(faces), faces.size, generator)
    second = []
    for start in range(0, len(faces), 64):
        stored = torch.from_numpy(np.array(faces.images[start : start + 64])).permute(0, 3, 1, 2).float() / 255
        to_crop = torch.tensor([[1.0, 0.0, -faces.offset], [0.0, 1.0, -faces.offset]]).expand(len(stored), 2, 3)
        moved = Affine(affine.matrix[start : start + 64]) @ Affine(to_crop)
        looks = LOOK.recolour(warp_images(stored, moved, faces.size), generator)
        second.append((looks * 255).round().byte().permute(0, 2, 3, 1).numpy())
    first, labels = faces.crops()
    return Twice(first, np.concatenate(second), labels, faces.second - faces.offset, affine.inverse(), faces.group)


def photographed(root: str, size: int) -> Twice:
    """The near-duplicate photographs of 300-W that two people labelled, registered by their pictures alone.

    Registration is OpenCV's ECC with an affine map, on the grey crops; pairs that do not register well are left out.
    """
    kept, maps = [], []
    for a, b in readers.second_annotations(root):
        pair = [cut_face(readers.read_image(s.path), s.landmarks, size, EXPAND) for s in (a, b)]
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture, _, _ in pair]
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
        try:
            quality, forth = cv2.findTransformECC(
                grey[0], grey[1], np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria, None, 5
            )
        except cv2.error:  # it did not converge
            continue
        if quality > 0.97:
            kept.append((pair, a.group))
            maps.append(forth)
    if not kept:  # a partial copy of 300-W may hold no pair; the claim about labels is then undecided
        return nothing(size, 68)
    back = Affine(torch.from_numpy(np.stack(maps))).inverse()
    first, second = (np.stack([pair[i][0] for pair, _ in kept]) for i in (0, 1))
    labels = [np.stack([pair[i][1] for pair, _ in kept]) for i in (0, 1)]
    moved = apply_to_landmarks(back, torch.from_numpy(labels[1])).numpy()
    return Twice(first, second, labels[0], moved, back, np.array([group for _, group in kept]))
