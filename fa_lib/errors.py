"""The one error that users see: wrong input, in one sentence."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something a user gave is wrong. The message names it, says what is wrong and what would be right.

    The command line prints the message alone and exits with code 2; a notebook shows it as the last line of the traceback.
    Whatever the input was, the message is one line of at most a thousand characters.

    >>> len(str(InputError("a" * 5000))), str(InputError("no such picture: one\\ntwo.jpg"))
    (1000, 'no such picture: one two.jpg')
    """

    def __init__(self, message: str) -> None:
        text = " ".join(message.splitlines())
        super().__init__(text if len(text) <= 1000 else f"{text[:495]} ... {text[-500:]}")


def suggest(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' where something known is near, else nothing: the end of half a sentence.

    >>> suggest("profle", ["profile", "data"])
    ", did you mean 'profile'?"
    """
    near = difflib.get_close_matches(word, list(known), 1)
    return f", did you mean {near[0]!r}?" if near else ""


# what to do where Linux has killed a process that asked for more memory than there is
KILLED = (
    "was killed, most likely since memory ran out; give fewer --jobs or a smaller --profile: what is finished is kept, and the "
    "same command goes on from there"
)


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turns memory that ran out, the machine's or the GPU's, into one sentence about `what`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch knows many words for it, in errors without a class of their own
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory|bad_alloc", str(error)):
            raise
        raise InputError(
            f"{what}: there is not enough memory; train fewer runs at a time (--jobs 1), a smaller --profile, or a smaller "
            "batch_size in the plan of the paper's file; what is finished is kept"
        ) from error
