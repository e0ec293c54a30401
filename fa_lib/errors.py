"""The one error that users see: wrong input, in one sentence."""


class InputError(ValueError):
    """Something a user gave is wrong. The message names it, says what is wrong and what would be right.

    The command line prints the message alone and exits with code 2; a notebook shows it as the last line of the traceback.
    """
