"""What the camera last said about itself."""

from collections.abc import Callable
from typing import Any

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.geometry.camera import MOST_UNSEEN, Calibration, Camera

_Reading = tuple[Calibration | None, str]  # the calibration, or why there is none


class LatestCalibration:
    """Remembers the newest camera_info: the calibration in it, or why there is none.

    What is needed of it depends on whether images are rectified with it or are already, which may
    change. One thread may update it while another asks.
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
        """Ask from now on how images are.

        Args:
            rectifies: Whether they are rectified with it; before this call, they are.
            claimed: Whether it is only claimed that they are rectified already: their topic does
                not say so.
        """
        self._rectifies = rectifies
        self._claimed = claimed

    def update(self, info: Any) -> str:
        """Read a `sensor_msgs/msg/CameraInfo`.

        Returns:
            Why it cannot be used, if that is news, else empty.
        """
        before = self._now[1]
        self._newest = {
            rectifies: _read(info, rectified=not rectifies) for rectifies in self._newest
        }
        self._distorted = any(info.d)
        problem = self._now[1]
        return "" if problem == before else problem

    def restart(self) -> None:
        """Forget which images it did not fit."""
        self._size_problem = ""
        self._unseen_problem = ""

    def of_image(self, *, height: int, width: int) -> Calibration | None:
        """Calibration that holds for an image of this size, if there is one.

        If images are rectified already, it says so too.
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
        """The camera of the newest calibration, if that can be used."""
        calibration = self._now[0]
        return None if calibration is None else calibration.camera

    @property
    def size_problem(self) -> str:
        """How the newest image did not fit, else empty."""
        return self._size_problem

    @property
    def unseen_problem(self) -> str:
        """What rectifying the newest image left black, if that is much, else empty."""
        return self._unseen_problem

    @property
    def _distortion_problem(self) -> str:
        if not (self._distorted and self._now[0] is not None and self._claimed()):
            return ""
        return (
            "input.rectify is never, and camera_info tells of a lens that distorts: unless the "
            "images are rectified already, depth is wrong; set input.rectify to auto"
        )

    @property
    def problems(self) -> list[str]:
        """Why there is no calibration for the images that come, or one that hardly fits."""
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
