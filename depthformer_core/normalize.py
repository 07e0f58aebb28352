"""ImageNet's statistics, which every network here reads its images with."""

from torch import Tensor

# Of values of 0-255, red, green, blue.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


def normalize(pixels: Tensor) -> Tensor:
    """Turn channels-last pixels into what a network reads.

    Args:
        pixels: (..., H, W, 3), RGB, 0-255, of any type.

    Returns:
        (..., 3, H, W), float32, of zero mean and unit deviation over ImageNet.
    """
    planes = pixels.movedim(-1, -3).float()
    mean, deviation = (planes.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _DEVIATION))
    return (planes - mean) / deviation
