"""The error of messages that cannot be used."""

from depthformer_core.errors import DepthFormerError

_SHOWN = 40  # characters of a text that an error shows


class ConversionError(DepthFormerError):
    """A message that cannot be used.

    Args:
        field: The field that is wrong.
        problem: The problem and the value; the text is both arguments.

    Attributes:
        field: The argument.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self._problem = problem

    def __reduce__(self) -> tuple[type["ConversionError"], tuple[str, str]]:
        """Pickle by the arguments, for another process."""
        return type(self), (self.field, self._problem)


def shown(text: str) -> str:
    """Quote a field's text for a log message, shortened to 40 characters."""
    return repr(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")
