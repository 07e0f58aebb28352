"""The base class of errors that a user can mend."""


class DepthFormerError(ValueError):
    """An input or an option cannot be used.

    The message is for the user: what is wrong, with which value, and what to do. Commands print it
    as one line. Any other exception is a fault of the program and is shown with its traceback.
    """
