"""Paper 3's two stages as one network: a trained heatmap net that stays as it is, and a ConvLSTM that steadies its maps."""

from typing import Self

import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.models.convlstm import ConvLSTM, State


class Stable(nn.Module):
    """A heatmap net for video (section 3.1, figure 2): `backbone` finds, `convlstm` steadies.

    `sequence` takes clips and carries the state; a call takes single pictures (B, 3, S, S) and returns [maps (B, K, h, h)], so
    that whatever works with a heatmap net works with this one. Only the ConvLSTM learns: the backbone has no gradient and stays
    in evaluation mode after `train()`, so that its batch norms keep the averages that they have; the weights' file holds both.

    Raises InputError where the backbone returns landmarks, or another number of maps than the ConvLSTM takes.

    >>> from fa_lib.models import count_parameters, create
    >>> net = Stable(create("fan2", landmarks=5, width=16), ConvLSTM(5))
    >>> count_parameters(net), net.train().backbone.training
    (1850, False)
    """

    def __init__(self, backbone: nn.Module, convlstm: ConvLSTM) -> None:
        super().__init__()
        self.backbone, self.convlstm = backbone.eval().requires_grad_(False), convlstm

    def train(self, mode: bool = True) -> Self:
        """As every module's, but for the backbone, which stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor, state: State | None = None) -> list[Tensor]:
        return [self.sequence(images[:, None], state)[0][:, 0]]

    def sequence(self, images: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Clips (B, T, 3, S, S), values in [0, 1] -> heatmaps (B, T, K, h, h) and the state after the last frame.

        For video that comes frame by frame: T = 1, and the state goes into the next call (under torch.no_grad(), or the
        gradient's memory grows with the clip).
        """
        if images.ndim != 5 or images.shape[2] != 3 or 0 in images.shape:
            raise InputError(f"clips must be (B, T, 3, S, S), none of them empty, not {tuple(images.shape)}")
        with torch.no_grad():
            maps = self.backbone(images.flatten(0, 1))
        if isinstance(maps, Tensor):
            name = type(self.backbone).__name__
            raise InputError(f"the backbone {name} returns landmarks, but a ConvLSTM steadies the maps of a heatmap net")
        return self.convlstm(maps[-1].unflatten(0, images.shape[:2]), state)
