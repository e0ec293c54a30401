"""Rectangles over batches of pictures, and batches that show two students the same face behind different ones (paper 4).

Masks that look like masks need nothing here: the rendered set `synthetic/masked_300w` (test splits `common`, `challenging` and
`full`) has the faces of `synthetic/300w`, annotated alike, with a face mask over mouth and nose.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fa_lib.data.augment import Augment, Batch, Batches
from fa_lib.data.faces import Faces
from fa_lib.errors import InputError


@dataclass(frozen=True)
class Masks:
    """Covers a `share` of the pictures, each with one rectangle that lies inside it, filled with `fill` in [0, 1].

    `area`: range of the rectangle's share of the picture; `aspect`: range of its width over its height, drawn such that twice as
    wide is as frequent as twice as high (a range symmetric about 1), and held to what fits into the picture.

    Raises InputError where a range or a share is impossible.

    >>> pictures = torch.ones(2, 3, 8, 8)
    >>> covered = Masks(share=1, area=(0.25, 0.25), aspect=(1, 1), fill=0)(pictures, Generator().manual_seed(0))
    >>> (covered == 0).sum((1, 2, 3)).tolist()  # 4 x 4 pixels, three channels
    [48, 48]
    """

    share: float
    area: tuple[float, float]
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: float = 1 / 255

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.fill <= 1):
            raise InputError(f"share={self.share!r}, fill={self.fill!r}: both must be from 0 to 1")
        if not (0 < self.area[0] <= self.area[1] <= 1 and 0 < self.aspect[0] <= self.aspect[1]):
            ranges = f"area={self.area!r}, aspect={self.aspect!r}"
            raise InputError(f"{ranges}: give (least, greatest), all above 0 and no area above 1, the whole picture")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> the same with their masks; `images` stay as they are."""
        return torch.where(self.rectangles(images, generator), self.fill, images)

    def rectangles(self, images: Tensor, generator: Generator) -> Tensor:
        """Which pixels of pictures (B, 3, H, W) are covered: (B, 1, H, W) bool, on their device.

        Drawn from a generator on the CPU, so that all devices see the same; nothing happens per picture in Python.
        """
        height, width = images.shape[-2:]
        used, area, aspect, left, top = torch.rand((5, len(images)), generator=generator)
        area = (self.area[0] + (self.area[1] - self.area[0]) * area) * height * width
        aspect = self.aspect[0] * (self.aspect[1] / self.aspect[0]) ** aspect
        aspect = aspect.clamp(area / height**2, width**2 / area)  # neither side is longer than the picture's
        wide, high = ((area * ratio).sqrt().round().clamp(min=1) for ratio in (aspect, 1 / aspect))
        columns = _stretch(width, (left * (width - wide + 1)).floor(), wide, images.device)
        rows = _stretch(height, (top * (height - high + 1)).floor(), high, images.device)
        return ((used < self.share).to(images.device)[:, None, None] & rows[:, :, None] & columns[:, None, :])[:, None]


MASKS = {
    # "random-sized" is all the paper says; up to 40 % is what Zhong et al., whose method the released code has, propose
    "large": Masks(share=1.0, area=(0.02, 0.4)),
    # The released code's, on 300-W and COFW; it uses none on WFLW. It draws aspects uniformly, so that three rectangles in four
    # are high, and paints into the picture itself, so that the second student's also bears the first one's mask: neither is
    # imitated.
    "released": Masks(share=0.5, area=(0.02, 0.1)),
}


@dataclass(frozen=True, kw_only=True)
class MaskedBatch(Batch):
    """A batch whose clean pictures are `images`; `first` and `second` (B, 3, size, size) the same behind other masks."""

    first: Tensor
    second: Tensor


class MaskedBatches(Batches):
    """Training batches for `training.fit` with what the teacher sees (`images`) and what either student sees of it.

    All three have the same augmentation and landmarks. Masks of share 0 leave both students the clean pictures, as Table 6 has it
    without masks. The paper does not say what its teacher sees; a mask would hide from it what it is to tell.

    Raises InputError where `augment` has masks itself: there would be no clean pictures.
    """

    def __init__(
        self,
        faces: Faces,
        augment: Augment,
        batch_size: int,
        device: torch.device | str = "cpu",
        generator: Generator | None = None,
        *,
        masks: Masks,
    ) -> None:
        super().__init__(faces, augment, batch_size, device, generator)
        if augment.mask:
            raise InputError(
                f"augment.mask={augment.mask!r}: the teacher sees no masks, so it must be 0, and `masks` says the rest"
            )
        self.masks = masks

    def __iter__(self) -> Iterator[MaskedBatch]:
        for batch in super().__iter__():
            first, second = (self.masks(batch.images, self.generator) for _ in range(2))
            yield MaskedBatch(batch.images, batch.landmarks, batch.index, batch.visible, first=first, second=second)


def _stretch(size: int, start: Tensor, length: Tensor, device: torch.device) -> Tensor:
    """(B, size) bool: the cells from `start` (B,) on, `length` (B,) of them."""
    cells, start, end = torch.arange(size, device=device), start.to(device)[:, None], (start + length).to(device)[:, None]
    return (cells >= start) & (cells < end)
