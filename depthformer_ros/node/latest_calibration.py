"""The calibration of the newest camera_info."""

from collections.abc import Callable
from typing import Any

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.geometry.camera import MOST_UNSEEN, Calibration, Camera

_Reading = tuple[Calibration | None, str]  # the calibration, or why there is none


class LatestCalibration:
    """Keeps the newest camera_info: its calibration, or why it has none.

    The fields that are needed depend on whether the node rectifies images or they are rectified
    already, which may change. One thread may update it while another reads it.
    """

    def __init__(self) -> None:
        self._rectifies: Callable[[], bool] = lambda: True
        self._claimed: Callable[[], bool] = lambda: False
        nothing: _Reading = (None, "no camera_info yet: no cloud")
        self._newest = {True: nothing, False: nothing}
        self._distorted = False
        self._size_problem = ""
        self._unseen_problem = ""

    def follow(self, rectifies: Callable[[], bool], *, claimed: Callable[[], bool]) -> None:
        """Set how to find out whether images are rectified.

        Args:
            rectifies: Returns whether the node rectifies them; before this call, it does.
            claimed: Returns whether only a parameter claims that they are rectified already: the
                name of their topic does not.
        """
        self._rectifies = rectifies
        self._claimed = claimed

    def update(self, info: Any) -> str:
        """Read a `sensor_msgs/msg/CameraInfo`.

        Returns:
            Why it cannot be used, if that has changed, else empty.
        """
        before = self._now[1]
        self._newest = {
            rectifies: _read(info, rectified=not rectifies) for rectifies in self._newest
        }
        self._distorted = any(info.d)
        problem = self._now[1]
        return "" if problem == before else problem

    def restart(self) -> None:
        """Forget the problems of the images so far."""
        self._size_problem = ""
        self._unseen_problem = ""

    def of_image(self, *, height: int, width: int) -> Calibration | None:
        """Return the calibration for an image of this size, or None.

        If images are rectified already, its `is_rectified` is true.
        """
        calibration = self._now[0]
        size_problem, unseen_problem = "", ""
        if calibration is not None:
            camera = calibration.camera
            if (camera.width, camera.height) == (width, height):
                unseen_problem = _unseen_problem(calibration)
            else:
                calibration = None
                size_problem = (
                    f"images are {width}x{height}, camera_info is for "
                    f"{camera.width}x{camera.height}"
                )
        self._size_problem, self._unseen_problem = size_problem, unseen_problem
        return calibration

    @property
    def camera(self) -> Camera | None:
        """Camera of the newest calibration, or None."""
        calibration = self._now[0]
        return None if calibration is None else calibration.camera

    @property
    def size_problem(self) -> str:
        """Difference in size to the newest image, else empty."""
        return self._size_problem

    @property
    def unseen_problem(self) -> str:
        """Share of the newest image that rectification leaves black, if large, else empty."""
        return self._unseen_problem

    @property
    def _distortion_problem(self) -> str:
        if not (self._distorted and self._now[0] is not None and self._claimed()):
            return ""
        return (
            "input.rectify is never, and camera_info describes a lens that distorts: unless the "
            "images are rectified already, depth is wrong; set input.rectify to auto"
        )

    @property
    def problems(self) -> list[str]:
        """Why the images have no calibration, or one that hardly fits."""
        problems = (
            *(self._now[1], self._size_problem, self._unseen_problem, self._distortion_problem),
        )
        return [problem for problem in problems if problem]

    @property
    def _now(self) -> _Reading:
        return self._newest[self._rectifies()]

    def __str__(self) -> str:
        calibration, problem = self._now
        if calibration is None:
            return problem
        camera = calibration.camera
        return (
            f"{camera.width}x{camera.height}, fx {camera.fx:.2f} fy {camera.fy:.2f} "
            f"cx {camera.cx:.2f} cy {camera.cy:.2f}"
        )


def _read(info: Any, *, rectified: bool) -> _Reading:
    try:
        return calibration_from_info(info, rectified=rectified), ""
    except ValueError as error:
        return None, f"camera_info is unusable: {error}"


def _unseen_problem(calibration: Calibration) -> str:
    share = calibration.unseen_share
    if share <= MOST_UNSEEN:
        return ""
    return (
        f"rectifying leaves {share:.0%} of the image black: if the images are rectified already, "
        "set input.rectify to never"
    )
