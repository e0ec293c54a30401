"""The one error that users see: wrong input, in one sentence."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user gave is wrong. The message names it, says what is wrong and what would be right.

    The command line prints the message alone and exits with code 2; a notebook shows it as the last line of the traceback.
    """


def suggest(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' where something known is near, else nothing: the end of half a sentence.

    >>> suggest("profle", ["profile", "data"])
    ", did you mean 'profile'?"
    """
    near = difflib.get_close_matches(word, list(known), 1)
    return f", did you mean {near[0]!r}?" if near else ""
