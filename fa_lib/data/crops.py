"""How a face is cut from a photograph: the box, the margin that is stored around it, and the resampling.

A crop shows 1.4 x the landmark box (paper 1, section 4.3). What is stored is 11/8 as large, so that a face that augmentation
turns, shrinks or moves still sees its surroundings instead of black corners.
"""

import cv2
import numpy as np
import torch

from fa_lib.geometry import apply_to_landmarks, crop_affine, crop_box

EXPAND = 1.4


def stored_size(size: int) -> int:
    """Side of the stored picture for crops of `size` pixels.

    >>> stored_size(64), stored_size(256)
    (88, 352)
    """
    return size * 11 // 8


def cut_face(
    photo: np.ndarray, landmarks: np.ndarray, side: int, expand: float, box: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One face cut from a photo (H, W, 3): picture (side, side, 3), landmarks (K, 2) in it, matrix (2, 3) photo -> picture.

    The cut is a square about the landmarks' tight box, or about `box` (4,) x0 y0 x1 y1 where it is given. The photo
    is first shrunk with an area filter, since bilinear sampling alone would skip pixels of large faces.
    """
    points = torch.from_numpy(np.asarray(landmarks, np.float64))[None]
    around = points if box is None else torch.from_numpy(np.asarray(box, np.float64)).reshape(1, 2, 2)
    affine = crop_affine(crop_box(around, expand), side)
    shrink = float(affine.matrix[0, 0, 0])
    matrix = affine.matrix[0].numpy()
    warp = matrix.copy()
    if shrink < 1:
        height, width = photo.shape[:2]
        small = max(1, round(width * shrink)), max(1, round(height * shrink))
        photo = cv2.resize(photo, small, interpolation=cv2.INTER_AREA)
        ratio = np.array([width / small[0], height / small[1]])  # photo = (shrunk + 0.5) * ratio - 0.5
        warp[:, 2] += warp[:, :2] @ (0.5 * ratio - 0.5)
        warp[:, :2] *= ratio
    picture = cv2.warpAffine(photo, warp, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return picture, apply_to_landmarks(affine, points)[0].numpy().astype(np.float32), matrix
