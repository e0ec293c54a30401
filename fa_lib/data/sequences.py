"""Training sequences: frames that follow one another in a clip, or one photograph shifted a little from frame to frame."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Generator, Tensor

from fa_lib.data.augment import Augment, Batch, Batches
from fa_lib.data.faces import Faces
from fa_lib.errors import InputError
from fa_lib.geometry import Affine


@dataclass(frozen=True)
class _Together(Augment):
    """An augmentation that is the same for all `frames` of a sequence, but for a move of each frame by up to `jitter` crops."""

    frames: int = 1
    jitter: float = 0.0

    def affine(self, count: int, size: int, generator: Generator) -> tuple[Affine, Tensor]:
        """Random maps crop -> crop, one a frame, and which of them mirror."""
        affine, mirrored = super().affine(count // self.frames, size, generator)
        matrix = affine.matrix.repeat_interleave(self.frames, 0)
        matrix[:, :, 2] += (2 * torch.rand((count, 2), generator=generator) - 1) * self.jitter * size
        return Affine(matrix), mirrored.repeat_interleave(self.frames)


class Sequences(Batches):
    """Training batches of sequences, for `training.fit`: images (B, T, 3, size, size) and landmarks (B, T, K, 2).

    With `jitter` > 0 each face is one sequence: T times the same picture, each time moved by up to `jitter` of the crop along
    both axes (paper 3, section 4.2: "a few pixels", T from 5 to 8). With `jitter` 0 the faces are frames of clips, and a
    sequence is T of them that follow one another. T is drawn anew for each batch from `frames`, both ends included; `index`
    (B, T) says which faces they are. A pass sees about as many frames as there are faces: with `jitter` that is one face in
    eight or so, chosen anew in each pass.
    Light, colour and noise of `augment` are drawn anew for each frame. Differs from the paper: moves are not whole pixels.

    Raises InputError where no clip is as long as a sequence.
    """

    def __init__(
        self,
        faces: Faces,
        augment: Augment,
        batch_size: int,
        device: torch.device | str = "cpu",
        generator: Generator | None = None,
        *,
        frames: tuple[int, int] = (5, 8),
        jitter: float = 0.0,
    ) -> None:
        super().__init__(faces, augment, batch_size, device, generator)
        self.frames, self.jitter = frames, jitter
        self.starts = torch.arange(len(faces)) if jitter else torch.from_numpy(starts(faces.group, frames[1]))
        if not len(self.starts):
            raise InputError(f"{faces.title}: no clip has {frames[1]} frames, as many as a sequence has; give longer clips")
        self.batch_size = min(batch_size, len(self.starts))

    def __len__(self) -> int:
        return max(1, len(self.faces) // (self.batch_size * self.frames[1]))

    def __iter__(self) -> Iterator[Batch]:
        order = self.starts[torch.randperm(len(self.starts), generator=self.generator)]
        for step in range(len(self)):
            count = int(torch.randint(self.frames[0], self.frames[1] + 1, (), generator=self.generator))
            first = order[step * self.batch_size : (step + 1) * self.batch_size]
            index = first[:, None] + torch.arange(count) * (0 if self.jitter else 1)  # (B, T)
            yield self._batch(index.to(self.device))

    def _batch(self, index: Tensor) -> Batch:
        flat, count = index.flatten(), index.shape[1]
        inherited = {f.name: getattr(self.augment, f.name) for f in fields(Augment)}
        together = _Together(**inherited, frames=count, jitter=self.jitter)
        stored = self.images.index_select(0, flat).permute(0, 3, 1, 2)
        images, landmarks, _ = together(stored, self.landmarks[flat], self.faces.size, self.generator, self.faces.scheme)
        return Batch(images.unflatten(0, index.shape), landmarks.unflatten(0, index.shape), index)


def starts(clips: np.ndarray, frames: int) -> np.ndarray:
    """Where `frames` frames of one clip follow one another: the first index of each such stretch; clips (N,) in order.

    >>> starts(np.array(["a", "a", "a", "b", "b"]), 2).tolist()
    [0, 1, 3]
    """
    first = np.arange(max(0, len(clips) - frames + 1))
    return first[clips[first] == clips[first + frames - 1]]
