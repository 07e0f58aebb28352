"""Measure how fast frames are rendered: `python -m depthformer_core.benchmark.rendering`."""

import statistics
import time
from dataclasses import dataclass

import cv2
import tyro

from depthformer_core.errors import exit_on_error
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.drive import Mount
from depthformer_core.synthetic.rendering.render import render
from depthformer_core.synthetic.scene.scene import Scene


@dataclass(frozen=True)
class SpeedOptions:
    """Measure how fast frames of new scenes are rendered on one core."""

    frames: int = 20
    """Number of scenes, one frame each."""
    width: int = 1216
    """Columns of a frame."""
    height: int = 352
    """Rows of a frame."""


def measure(options: SpeedOptions) -> list[float]:
    """Measure the seconds of a core for each frame, its scene included."""
    cv2.setNumThreads(1)
    focal = 721.5 * options.width / 1242
    camera = Camera(
        options.width, options.height, focal, focal, options.width / 2, 0.43 * options.height
    )
    seconds = []
    for seed in range(-1, options.frames):  # the first one makes the tiles of noise too
        # Time on the core: others may use the machine.
        start = time.process_time()
        scene = Scene(seed % 1000)
        render(scene, camera, Mount().pose(scene, 0.0))
        seconds.append(time.process_time() - start)
    return seconds[1:]


@exit_on_error("rendering")
def main() -> None:
    """Run the measurement from the command line."""
    seconds = measure(tyro.cli(SpeedOptions))
    print(
        f"{len(seconds)} frames: {len(seconds) / sum(seconds):.2f} a second and core; "
        f"median {1e3 * statistics.median(seconds):.0f} ms, slowest {1e3 * max(seconds):.0f} ms"
    )


if __name__ == "__main__":
    main()
