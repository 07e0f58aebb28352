"""RVL, the lossless code of depth images in compressed_depth_image_transport.

Wilson, "Fast Lossless Depth Image Compression", Interactive Surfaces and Spaces 2017.
"""

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError

_LONGEST = 9  # nibbles of a number: 27 bits count more pixels than any image has


class RvlError(DepthFormerError):
    """Data that is no RVL of an image of its size."""


def encode_rvl(image: npt.NDArray[np.uint16]) -> bytes:
    """Encode an image (H, W), see `decode_rvl`."""
    pixels = image.ravel()
    solid = pixels != 0
    borders = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    lengths = np.diff(borders, prepend=0, append=len(pixels))
    # Runs of zeros and of others by turns, from zeros to others, each of which may be none.
    lengths = np.pad(lengths, (int(solid[0]), int(not solid[-1])))
    values = pixels[solid].astype(np.int32)
    differences = np.diff(values, prepend=np.int32(0))
    numbers = np.empty(len(lengths) + len(values), np.uint32)
    counts = np.zeros(len(numbers), np.bool_)
    # Behind each pair of counts are the differences of its second one.
    heads = np.arange(0, len(lengths), 2) + np.cumsum(lengths[1::2]) - lengths[1::2]
    counts[heads] = counts[heads + 1] = True
    numbers[counts] = lengths
    # The sign becomes the lowest bit.
    numbers[~counts] = (differences << 1) ^ (differences >> 31)
    return _code(numbers)


def decode_rvl(data: bytes, *, width: int, height: int) -> npt.NDArray[np.uint16]:
    """Decode an image.

    The code is a row of numbers: how many pixels are zero, how many are not, the differences of
    these from the pixels before them, and so on.

    Args:
        data: The code.
        width: Columns of the image.
        height: Rows of the image.

    Returns:
        (H, W).

    Raises:
        RvlError: The data is cut off or damaged.
    """
    pixels = width * height
    # No code is longer: a pixel takes 6 nibbles at most, a run of zeros and one pixel 8.
    numbers = _numbers(data[: 3 * pixels + 16])
    starts, places, lengths = _runs(numbers, pixels)
    image = np.zeros(pixels, np.uint16)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    codes = numbers[np.repeat(starts, lengths) + within]
    # The sign is the lowest bit; sums are of 16 bits, as those of the encoder.
    differences = (codes >> 1) ^ -(codes & 1)
    image[np.repeat(places, lengths) + within] = np.cumsum(differences).astype(np.uint16)
    return image.reshape(height, width)


def _code(numbers: npt.NDArray[np.uint32]) -> bytes:
    """Encode numbers, the inverse of `_numbers`."""
    longest = (int(numbers.max()).bit_length() + 2) // 3
    # Nibbles of each number in a row, and which of them it has: at least the first.
    rows = np.empty((len(numbers), max(longest, 1)), np.uint8)
    used = np.ones(rows.shape, np.bool_)
    rest = numbers.astype(np.uint32)
    for place in range(rows.shape[1]):
        low, rest = rest, rest >> np.uint32(3)
        more = rest > 0
        rows[:, place] = low & 7
        rows[:, place] |= more.view(np.uint8) << np.uint8(3)
        if place + 1 < rows.shape[1]:
            used[:, place + 1] = more
    nibbles = rows[used]
    nibbles = np.pad(nibbles, (0, -len(nibbles) % 8))
    octets = nibbles[::2] << 4 | nibbles[1::2]
    return octets.view(">u4").astype("<u4").tobytes()


def _numbers(data: bytes) -> npt.NDArray[np.int64]:
    """Decode numbers of variable length: 3 bits a nibble, lowest first, and a continuation bit."""
    octets = np.frombuffer(data, "<u4", count=len(data) // 4).astype(">u4").view(np.uint8)
    nibbles = np.stack((octets >> 4, octets & 15), axis=-1).ravel()
    ends = np.flatnonzero(nibbles < 8)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max(initial=0) > _LONGEST:
        raise RvlError(f"a number has {lengths.max()} nibbles")
    numbers = np.zeros(len(ends), np.int64)
    for place in range(lengths.max(initial=0)):
        longer = np.flatnonzero(lengths > place)
        bits = nibbles[ends[longer] - lengths[longer] + 1 + place] & 7
        numbers[longer] |= bits.astype(np.int64) << (3 * place)
    return numbers


def _runs(
    numbers: npt.NDArray[np.int64], pixels: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the runs of non-zero pixels: their first number, first pixel and length."""
    # The start of a run depends on the runs before it: a step a run, not a pixel.
    values = numbers.data
    heads, position = [], 0
    while position + 1 < len(numbers):
        heads.append(position)
        position += 2 + values[position + 1]
    starts = np.array(heads, np.int64)
    zeros, lengths = numbers[starts], numbers[starts + 1]
    ends = np.cumsum(zeros + lengths)
    # Behind the last pixel are zeros that pad the code.
    used = int(np.searchsorted(ends, pixels)) + 1
    found = int(ends[:used][-1]) if heads else 0
    starts, lengths, ends = starts[:used] + 2, lengths[:used], ends[:used]
    if found != pixels or starts[-1] + lengths[-1] > len(numbers):
        raise RvlError(f"{len(numbers)} numbers are of {found} pixels, not of {pixels}")
    return starts, ends - lengths, lengths
