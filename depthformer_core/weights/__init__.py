"""Weights that come with the package; `small.md` tells what they are good for."""

from pathlib import Path

SHIPPED = {"small": Path(__file__).with_name("small.safetensors")}
"""Files by the names of their presets."""

SHIPPED_NOTE = (
    "Using the weights that come with the package. They were trained on generated streets alone: "
    "give a checkpoint trained on real images where metres matter."
)
