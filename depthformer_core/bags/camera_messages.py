"""Messages of cameras turned into pictures and calibrations, checked first."""

from depthformer_core.bags.calibration_messages import calibration_from_info, named_rectified
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.image_messages import MAX_PIXELS, Rgb, image_to_rgb

__all__ = [
    "MAX_PIXELS",
    "ConversionError",
    "Rgb",
    "calibration_from_info",
    "compressed_to_rgb",
    "image_to_rgb",
    "named_rectified",
]
