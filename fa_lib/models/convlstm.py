"""Convolutional LSTM (Shi et al., 2015) that steadies heatmaps from frame to frame: the second stage of paper 3."""

import torch
from torch import Tensor, nn

from fa_lib.errors import InputError

State = tuple[Tensor, Tensor]


class ConvLSTM(nn.Module):
    """Heatmaps (B, T, K, H, W) of T successive frames -> steadied ones of the same shape, and the state after the last frame.

    Equation 1 of paper 3, `h_t, c_t, s_t = ConvLSTM(h_{t-1}, c_{t-1}, o_t)`, frame by frame. One convolution of [o_t, h_{t-1}]
    with bias gives the four gates; this is the variant without peepholes (no gate looks at c):

        i, f, o = sigmoid(...), g = tanh(...)     c_t = f * c_{t-1} + i * g     h_t = o * tanh(c_t)

    The state (h, c), each (B, hidden, H, W), is zero where none is given, so that nothing of one clip reaches the next. Give
    it back with the next frames of the same clip: one frame at a time gives what all at once give.

    With `residual`, s_t is o_t plus a 1 x 1 convolution of h_t that is zero at first: training starts at the accuracy of the
    network before. Without it s_t = h_t, the plain reading of the paper, which keeps s_t within (-1, 1) and needs `hidden` to
    be the number of landmarks (its default).

    Differs from the paper: it gives neither the kernel nor the hidden width nor how s_t comes from h_t, so all three are ours.
    Raises InputError for an even kernel, and for maps or a state of another shape.

    >>> [sum(p.numel() for p in ConvLSTM(k, residual=False).parameters()) for k in (19, 29, 68, 98)]
    [26068, 60668, 333200, 691880]
    >>> maps = torch.rand(1, 3, 19, 8, 8)
    >>> torch.equal(ConvLSTM(19)(maps)[0], maps)
    True
    """

    def __init__(self, landmarks: int = 68, hidden: int | None = None, kernel: int = 3, residual: bool = True) -> None:
        super().__init__()
        self.landmarks, self.hidden = landmarks, hidden or landmarks
        if kernel % 2 == 0:
            raise InputError(f"kernel={kernel}: the kernel of a ConvLSTM must be odd, or the maps change their size")
        if not residual and self.hidden != landmarks:
            raise InputError(f"hidden={hidden}: without residual the state is the output, so hidden must be {landmarks}")
        self.gates = nn.Conv2d(landmarks + self.hidden, 4 * self.hidden, kernel, padding=kernel // 2)
        self.correction = nn.Conv2d(self.hidden, landmarks, 1) if residual else None
        if self.correction is not None:
            nn.init.zeros_(self.correction.weight)
            nn.init.zeros_(self.correction.bias)

    def forward(self, maps: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if maps.ndim != 5 or maps.shape[2] != self.landmarks or maps.shape[1] == 0:
            raise InputError(f"heatmaps for this ConvLSTM must be (B, T, {self.landmarks}, H, W), T > 0, not {tuple(maps.shape)}")
        shape = (len(maps), self.hidden, *maps.shape[3:])
        if state is None:
            state = maps.new_zeros(shape), maps.new_zeros(shape)
        h, c = state
        if h.shape != shape or c.shape != shape:
            raise InputError(f"the state is {tuple(h.shape)} but these heatmaps need {shape}: start without one for another clip")
        steadied = []
        for frame in maps.unbind(1):
            h, c = self._step(frame, h, c)
            steadied.append(h if self.correction is None else frame + self.correction(h))
        return torch.stack(steadied, 1), (h, c)

    def _step(self, frame: Tensor, h: Tensor, c: Tensor) -> State:
        i, f, o, g = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
