"""Frames of videos by number. The first frame is number 1, as in the file names of annotations.

Seeking in compressed video is slow, and with some codecs lands beside the frame that was asked for, so frames are only ever
decoded forwards: reading them in order costs one decoding of the file, going back begins at its start again.
"""

import os
import threading
from pathlib import Path

import cv2
import numpy as np

from fa_lib.errors import InputError


class _Decoder:
    """An open video, and the number of the frame decoded last."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0
        self.capture = cv2.VideoCapture(str(path))
        if not self.capture.isOpened():
            raise InputError(f"{path}: is not a video that OpenCV can decode; unpack or download it again")

    def go_to(self, number: int) -> None:
        """Decodes up to the frame `number`, which must not lie before the present one."""
        while self.position < number:
            if not self.capture.grab():
                raise InputError(
                    f"{self.path}: ends or is damaged after frame {self.position:,}, but frame {number:,} is needed; "
                    "unpack or download it again"
                )
            self.position += 1


_lock = threading.Lock()
_open: tuple[int, _Decoder] | None = None  # one video at a time, and of this process: a forked one would share its place


def read_frame(path: Path, number: int) -> np.ndarray:
    """Frame `number` (from 1) of a video as (H, W, 3) uint8 RGB; quick where frames are asked for in their order.

    Raises InputError for a file that is no video or ends before that frame.
    """
    global _open
    with _lock:
        process, decoder = _open or (0, None)
        if decoder is None or process != os.getpid() or decoder.path != path or decoder.position > number:
            _open = None  # closes the old video also where the new one cannot be opened
            check_video(path)
            decoder = _Decoder(path)
            _open = os.getpid(), decoder
        try:
            decoder.go_to(number)
            found, frame = decoder.capture.retrieve()
        except InputError:
            _open = None
            raise
    if not found:
        raise InputError(f"{path}: frame {number:,} cannot be decoded; unpack or download the video again")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def count_frames(path: Path, expected: int) -> int:
    """Frames of a video: the number in its header where that is `expected`, else all are decoded and counted.

    Headers are quick to read but not always right. Raises InputError for a file that is missing, cut off or no video.
    """
    check_video(path)
    decoder = _Decoder(path)
    if round(decoder.capture.get(cv2.CAP_PROP_FRAME_COUNT)) == expected:
        return expected
    while decoder.capture.grab():
        decoder.position += 1
    return decoder.position


def frame_size(path: Path) -> tuple[int, int]:
    """Width and height of a video's frames in pixels; InputErrors as `count_frames`."""
    check_video(path)
    capture = _Decoder(path).capture
    return round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def check_video(path: Path) -> None:
    """Raises InputError for a file that is missing, empty, or an AVI shorter than its header says; decodes nothing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not size:
        raise InputError(f"{path}: is empty")
    # writers that could not go back to the header leave 0 or the largest number there
    promised = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"AVI " and size < promised < 0x7FFFFFFF:
        raise InputError(f"{path}: is cut off after {size:,} of {promised:,} bytes; unpack or download it again")
