"""Generated frames as a dataset."""

import numpy as np

from depthformer_core.data.dataset import DatasetError, DepthDataset, Frame
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.drive import STREET_CAMERA, Mount
from depthformer_core.synthetic.rendering.render import render
from depthformer_core.synthetic.scene.scene import Scene

WORLD = 2
"""Version of the generated world: it goes up when part `train` changes."""

# First seed and number of scenes of each part; no two parts share a scene.
_PARTS = {"train": (1_000_000, 50_000), "val": (2_000_000, 100), "test": (3_000_000, 200)}

# Last digits of the seeds of congested, walled and patterned scenes in part `train`.
_CONGESTED, _WALLED, _PATTERNED = (3, 8), (6,), (1, 4, 9)

_RANGE = 80.0  # metres


class SyntheticDataset(DepthDataset):
    """Scenes with one frame each, rendered on access.

    In part `train` the seed's last digit decides: one scene in five is congested (3 and 8), one in
    ten has walls close to the road (6), three in ten have strong patterns on the ground, such as
    railway tracks (1, 4 and 9). The parts `val` and `test` have none of these, so that figures
    measured on them before stay comparable.

    Args:
        part: `train` has 50,000 scenes, `val` 100 and `test` 200; none is in two parts.
        camera: The camera of all frames. How it is mounted differs from frame to frame.

    Raises:
        DatasetError: There is no such part.
    """

    def __init__(self, *, part: str, camera: Camera = STREET_CAMERA) -> None:
        if part not in _PARTS:
            raise DatasetError(f"part must be one of {', '.join(_PARTS)}, got {part!r}")
        super().__init__([], name="synthetic", depth_format=None)
        first, count = _PARTS[part]
        self._seeds = range(first, first + count)
        self._camera = camera
        self.files = tuple(f"{part}/{seed}.png" for seed in self._seeds)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._seeds)

    def __getitem__(self, index: int) -> Frame:
        """Render a frame; its depth is infinite beyond 80 m and in the sky.

        Raises:
            IndexError: There is no such frame.
        """
        seed = self._seeds[index]
        train = self._seeds.start == _PARTS["train"][0]
        scene = Scene(
            seed,
            congested=train and seed % 10 in _CONGESTED,
            walled=train and seed % 10 in _WALLED,
            patterned=train and seed % 10 in _PATTERNED,
        )
        mount = Mount.draw(np.random.default_rng((seed, 5)))
        rgb, depth = render(scene, self._camera, mount.pose(scene, 0.0))
        depth[depth > _RANGE] = np.inf
        return Frame(self.files[index], rgb, depth, self._camera)

    def fingerprint(self, index: int) -> str:
        """Describe a frame: the world's version, the scene and the camera.

        Raises:
            IndexError: There is no such frame.
        """
        return repr((self.name, WORLD, self.files[index], self._camera))

    def check(self, *, progress: bool = False) -> None:
        """Do nothing: there are no files."""
