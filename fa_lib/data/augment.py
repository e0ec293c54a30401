"""Augmentation, batched on the device: one affine map a face moves its picture and its landmarks together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from fa_lib.data.faces import Faces
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images
from fa_lib.landmarks import Scheme, scheme_of

CACHE = 1 << 20  # bytes of a processor's core, from which it reads ten times as fast as from memory


@dataclass(frozen=True)
class Augment:
    """What may happen to a training face; the defaults change nothing.

    flip: probability of a mirrored face (points swapped by the scheme's permutation); scale: range of the face's size;
    degrees: largest turn either way; shift: largest move either way, as a share of the crop; brightness, contrast, colour:
    largest change either way (of the mean, of the spread, of each channel); noise: largest standard deviation;
    mask: probability of a grey rectangle over 2-15 % of the crop. Colours are in [0, 1].
    """

    flip: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    degrees: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    noise: float = 0.0
    mask: float = 0.0

    def __call__(
        self,
        images: Tensor,
        landmarks: Tensor,
        size: int,
        generator: Generator,
        scheme: Scheme | None = None,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Stored pictures (B, 3, M, M) with landmarks (B, K, 2) -> crops (B, 3, size, size) in [0, 1] and their landmarks.

        Pictures are uint8, or float in [0, 1].

        `visible` (B, K) bool comes back in the order of the new landmarks; None stays None. `scheme` says which points change
        places in a mirrored face: by default that of K landmarks; it is not needed for unlabelled faces, K = 0.
        """
        count, stored = len(images), images.shape[-1]
        affine, mirrored = self.affine(count, size, generator)
        offset = (stored - size) // 2
        centre_crop = torch.tensor([[1.0, 0.0, -offset], [0.0, 1.0, -offset]]).expand(count, 2, 3)
        affine = Affine((affine @ Affine(centre_crop)).matrix.to(images.device))
        order = (scheme or scheme_of(landmarks)).flip if landmarks.shape[1] else ()
        flip, mirrored = torch.tensor(order, dtype=torch.long, device=images.device), mirrored.to(images.device)
        moved = apply_to_landmarks(affine, landmarks)
        moved = torch.where(mirrored[:, None, None], moved[:, flip], moved)
        seen = None if visible is None else torch.where(mirrored[:, None], visible[:, flip], visible)
        return self.recolour(_crops(images, affine, size), generator), moved, seen

    def affine(self, count: int, size: int, generator: Generator) -> tuple[Affine, Tensor]:
        """Random maps crop -> crop, and which of them mirror (B,). Drawn on the CPU, so that all devices see the same."""
        scale = _uniform(generator, count, *self.scale)
        degrees = _uniform(generator, count, -self.degrees, self.degrees)
        shift = _uniform(generator, (count, 2), -self.shift, self.shift) * size
        mirrored = torch.rand(count, generator=generator) < self.flip
        middle = torch.full((count, 2), (size - 1) / 2)
        mirror = torch.eye(2, 3).repeat(count, 1, 1)
        mirror[mirrored] = torch.tensor([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]])
        return Affine.about(middle, scale, degrees, shift) @ Affine(mirror), mirrored

    def recolour(self, images: Tensor, generator: Generator) -> Tensor:
        """Light, contrast, colour cast, noise and masks on pictures (B, 3, H, W) in [0, 1]."""
        count, device = len(images), images.device
        if self.brightness or self.contrast or self.colour:
            gain = 1 + _uniform(generator, (count, 1), -self.contrast, self.contrast)
            gain = (gain + _uniform(generator, (count, 3), -self.colour, self.colour)).to(device)[:, :, None, None]
            lift = _uniform(generator, (count, 1, 1, 1), -self.brightness, self.brightness).to(device)
            images = (images - 0.5) * gain + 0.5 + lift
        if self.noise:
            strength = _uniform(generator, (count, 1, 1, 1), 0, self.noise).to(device)
            images = images + strength * torch.randn(images.shape, generator=generator).to(device)
        if self.mask:
            images = torch.where(self._masks(count, images.shape[-1], generator).to(device), 0.5, images)
        return images.clamp(0, 1) if self.brightness or self.contrast or self.colour or self.noise else images

    def _masks(self, count: int, size: int, generator: Generator) -> Tensor:
        """Rectangles (B, 1, size, size): area 2-15 %, aspect 1/3-3."""
        area = _uniform(generator, count, 0.02, 0.15)
        aspect = torch.exp(_uniform(generator, count, -1.1, 1.1))
        half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], -1) * size / 2  # (B, 2) as x, y
        middle = torch.rand((count, 2), generator=generator) * size - 0.5
        used = torch.rand(count, generator=generator) < self.mask
        near = (torch.arange(size) - middle[:, :, None]).abs() <= half[:, :, None]  # (B, 2, size)
        return (near[:, 1, :, None] & near[:, 0, None, :] & used[:, None, None])[:, None]


def _crops(images: Tensor, affine: Affine, size: int) -> Tensor:
    """`warp_images` of pictures in [0, 1] or uint8; on a CPU of as few at a time as fit into its cache between the steps."""
    fit = CACHE // (4 * images[:1].numel() or 1)
    few = len(images) if images.is_cuda else max(torch.get_num_threads(), fit)
    parts = [
        warp_images(part.float().div_(255) if part.dtype == torch.uint8 else part, Affine(matrix), size)
        for part, matrix in zip(images.split(few), affine.matrix.split(few))
    ]
    return torch.cat(parts)


def _uniform(generator: Generator, shape: int | tuple[int, ...], low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


@dataclass(frozen=True)
class Batch:
    """images (B, 3, size, size) in [0, 1]; landmarks (B, K, 2) in their pixels; index (B,) of the faces in the set; visible
    (B, K) bool, None where the set has no such flags.
    """

    images: Tensor
    landmarks: Tensor
    index: Tensor
    visible: Tensor | None = None


class Batches:
    """Training batches: one pass over `faces` in random order each time it is iterated, augmented, the last odd batch left out.

    All pictures lie on `device` as uint8; nothing happens per image in Python. All randomness comes from `generator` (a CPU
    generator), so its state is the whole state of the stream.
    """

    def __init__(
        self,
        faces: Faces,
        augment: Augment,
        batch_size: int,
        device: torch.device | str = "cpu",
        generator: Generator | None = None,
    ) -> None:
        self.faces, self.augment, self.device = faces, augment, torch.device(device)
        self.batch_size = min(batch_size, len(faces))
        self.generator = Generator().manual_seed(0) if generator is None else generator
        self.images = torch.from_numpy(np.array(faces.images)).to(self.device)  # (N, M, M, 3)
        self.landmarks = torch.from_numpy(faces.landmarks).float().to(self.device)
        self.visible = None if faces.visible is None else torch.from_numpy(faces.visible).to(self.device)

    def __len__(self) -> int:
        return len(self.faces) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.faces), generator=self.generator)
        for step in range(len(self)):
            index = order[step * self.batch_size : (step + 1) * self.batch_size].to(self.device)
            stored = self.images.index_select(0, index).permute(0, 3, 1, 2)  # twenty times as fast as images[index]
            visible = None if self.visible is None else self.visible[index]
            images, landmarks, visible = self.augment(
                stored, self.landmarks[index], self.faces.size, self.generator, self.faces.scheme, visible
            )
            yield Batch(images, landmarks, index, visible)
