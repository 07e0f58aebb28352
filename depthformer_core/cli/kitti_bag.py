"""`depthformer kitti-bag`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from depthformer_core.bags import Storage
from depthformer_core.data.kitti import drive_to_bag


@dataclass(frozen=True)
class KittiBagOptions:
    """Turn a KITTI raw drive into a ROS 2 bag: images, camera_info, scans and /tf_static."""

    drive: tyro.conf.Positional[Path]
    """Folder such as 2011_09_26/2011_09_26_drive_0005_sync, with the calibration beside it."""
    bag: tyro.conf.Positional[Path]
    """The bag to write: a folder that does not exist yet."""
    storage: Storage = "mcap"
    """Format of the bag."""


def kitti_bag(options: KittiBagOptions) -> None:
    """Run `depthformer kitti-bag`."""
    notes = drive_to_bag(options.drive, options.bag, storage=options.storage, progress=True)
    for note in notes:
        print(note, file=sys.stderr)
    print(f"Wrote {options.bag}")
