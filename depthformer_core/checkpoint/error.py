"""What goes wrong with checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, written or converted."""
