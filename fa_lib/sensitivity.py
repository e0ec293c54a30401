"""How much a network's error grows when the face box is not the one it learned with: moved, of another size, turned.

Detectors give boxes of their own, and results collapse when they differ from those of training. A disturbed crop is cut from the
stored picture, whose margin holds 11/8 of the crop: a box up to 37 % larger, or moved by 18 % of its side, sees no black border.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import metrics, scores, training
from fa_lib.data import Faces
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images

Model = nn.Module | Callable[[np.ndarray], np.ndarray]
AMOUNTS: dict[str, tuple[float, ...]] = {  # per cent of the box's side; per cent; degrees clockwise
    "shift": (0, 2.5, 5, 7.5, 10, 12.5, 15),
    "scale": (80, 85, 90, 95, 100, 105, 110, 120, 130),
    "rotation": (-40, -30, -20, -10, 0, 10, 20, 30, 40),
}
BATCH = 64


def box_sensitivity(model: Model, faces: Faces, amounts: Mapping[str, Sequence[float]] = AMOUNTS) -> pd.DataFrame:
    """NME of a model when the box of each face is disturbed, tidy: kind, amount, nme, low, high (95 % over photographs or clips).

    `model`: a network, or a function of crops (n, size, size, 3) uint8 that returns landmarks (n, K, 2) in their pixels.
    What it finds is moved back into the undisturbed crop, and compared with the annotation there. A shift goes in a random
    direction, the same for a face at each amount. With the box as it is (0 %, 100 %, 0 degrees) this is the plain NME, exactly.
    """
    target, lengths = faces.crops()[1], faces.lengths()
    lines = []
    for kind, values in amounts.items():
        for amount in values:
            found = in_boxes(model, faces, boxes(kind, amount, len(faces), faces.size))
            known = scores.estimate(scores.features(found, target, lengths=lengths)[None], "nme", faces.group)
            value = metrics.nme(found, target, lengths).mean()
            lines.append({"kind": kind, "amount": amount, "nme": value, "low": known.low, "high": known.high})
    return pd.DataFrame(lines)


def boxes(kind: str, amount: float, count: int, size: int) -> Affine:
    """Maps (count) from pixels of the crop that a disturbed box shows to pixels of the right crop; units as in AMOUNTS."""
    ways = 2 * torch.pi * torch.rand(count, generator=Generator().manual_seed(0))
    shift = torch.stack([ways.cos(), ways.sin()], -1) * size * (amount / 100 if kind == "shift" else 0)
    scale = torch.full((count,), amount / 100 if kind == "scale" else 1.0)
    degrees = torch.full((count,), float(amount) if kind == "rotation" else 0.0)
    return Affine.about(torch.full((count, 2), (size - 1) / 2), scale, degrees, shift)


def in_boxes(model: Model, faces: Faces, box: Affine) -> np.ndarray:
    """Landmarks (N, K, 2) in the right crops, found in the crops that disturbed boxes (`boxes`) show."""
    where = next(model.parameters()).device if isinstance(model, nn.Module) else torch.device("cpu")
    found = []
    for start in range(0, len(faces), BATCH):
        some = slice(start, start + BATCH)
        back = Affine(box.matrix[some])
        crops = _crops(torch.from_numpy(np.array(faces.images[some])).to(where), back, faces.offset, faces.size)
        there = training.predict(model, crops) if isinstance(model, nn.Module) else model(crops)
        found.append(apply_to_landmarks(back, torch.as_tensor(np.asarray(there))).numpy())
    return np.concatenate(found)


def _crops(stored: Tensor, box: Affine, offset: int, size: int) -> np.ndarray:
    """What disturbed boxes show of stored pictures (n, M, M, 3) uint8: crops (n, size, size, 3) uint8."""
    to_crop = torch.tensor([[1.0, 0.0, -offset], [0.0, 1.0, -offset]]).expand(len(stored), 2, 3)
    shown = Affine((box.inverse() @ Affine(to_crop)).matrix.to(stored.device))
    crops = warp_images(stored.permute(0, 3, 1, 2).float(), shown, size)
    # laid out as stored crops are: networks round a little differently on another order of the same pixels in memory
    return np.ascontiguousarray(crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())
