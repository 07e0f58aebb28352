"""Kinds of checkpoints, told by their files; PyTorch is not needed."""

from pathlib import Path

_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")


def is_torch_file(path: Path) -> bool:
    """Return whether a file is one of PyTorch's, by its first bytes or else by its name.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(9)
    # safetensors begins with the length of a JSON object.
    if head[8:] == b"{":
        return False
    # A ZIP archive, or a pickle with a protocol number.
    return head[:4] == b"PK\x03\x04" or head[:1] == b"\x80" or path.suffix in _SUFFIXES


def conversion_note(path: Path) -> str:
    """Return a note on how a checkpoint would load faster; empty for one of ours or no file."""
    if not path.is_file() or not is_torch_file(path):
        return ""
    return (
        f"{path} is converted each time it is loaded; depthformer convert {path} FILE.safetensors "
        "makes a file that loads faster."
    )
