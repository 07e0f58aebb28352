"""What the camera last said about itself."""

from typing import Any

from depthformer_core.camera import Calibration, Camera
from depthformer_core.data.camera_messages import calibration_from_info


class LatestCalibration:
    """Remembers the newest camera_info: the calibration in it, or why there is none.

    One thread may update it while another asks.
    """

    def __init__(self) -> None:
        self._newest: tuple[Calibration | None, str] = (None, "no camera_info yet: no cloud")
        self._size_problem = ""

    def update(self, info: Any) -> str:
        """Read a `sensor_msgs/msg/CameraInfo`.

        Returns:
            Why it cannot be used, if that is news, else empty.
        """
        before = self._newest[1]
        try:
            self._newest = calibration_from_info(info), ""
        except ValueError as error:
            self._newest = None, f"camera_info is unusable: {error}"
        problem = self._newest[1]
        return "" if problem == before else problem

    def restart(self) -> None:
        """Forget which images it did not fit."""
        self._size_problem = ""

    def of_image(self, *, height: int, width: int) -> Calibration | None:
        """Calibration that holds for an image of this size, if there is one."""
        calibration = self._newest[0]
        self._size_problem = ""
        if calibration is None:
            return None
        camera = calibration.camera
        if (camera.width, camera.height) == (width, height):
            return calibration
        self._size_problem = (
            f"images are {width}x{height}, camera_info is for {camera.width}x{camera.height}"
        )
        return None

    @property
    def camera(self) -> Camera | None:
        """The camera of the newest calibration, if that can be used."""
        calibration = self._newest[0]
        return None if calibration is None else calibration.camera

    @property
    def size_problem(self) -> str:
        """How the newest image did not fit, else empty."""
        return self._size_problem

    @property
    def problems(self) -> list[str]:
        """Why there is no calibration for the images that come."""
        return [problem for problem in (self._newest[1], self._size_problem) if problem]

    def __str__(self) -> str:
        calibration, problem = self._newest
        if calibration is None:
            return problem
        camera = calibration.camera
        return (
            f"{camera.width}x{camera.height}, fx {camera.fx:.2f} fy {camera.fy:.2f} "
            f"cx {camera.cx:.2f} cy {camera.cy:.2f}"
        )
