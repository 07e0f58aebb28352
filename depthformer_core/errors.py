"""The base class of errors that a user can mend."""


class DepthFormerError(ValueError):
    """What was given cannot be used.

    The message is for the user: what is wrong, with which value, and what to do. Commands print it
    as one line. Any other exception is a fault of the program and is shown with its traceback.
    """


def one_line(error: object) -> str:
    """Return the text of an error on one line, or its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
