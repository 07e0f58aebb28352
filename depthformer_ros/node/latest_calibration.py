"""The calibration of the newest camera_info."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sensor_msgs.msg import CameraInfo

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import MOST_UNSEEN, Calibration, Camera

_Reading = tuple[Calibration | None, str]  # the calibration, or why there is none
_NOTHING: _Reading = (None, "no camera_info yet: no cloud")
_CLAIMED_PROBLEM = (
    "input.rectify is never, and camera_info describes a lens that distorts: unless the images are "
    "rectified already, depth is wrong; set input.rectify to auto"
)


@dataclass(frozen=True)
class _State:
    """The newest camera_info and image at one moment.

    Attributes:
        readings: The calibration, by whether the node rectifies images.
        distorted: Whether the lens distorts.
        size_problem: Difference in size to the newest image, else empty.
        unseen_problem: Share of the newest image that rectification leaves black, if large.
    """

    readings: Mapping[bool, _Reading]
    distorted: bool = False
    size_problem: str = ""
    unseen_problem: str = ""


class LatestCalibration:
    """Keeps the newest camera_info: its calibration, or why it has none.

    The fields that are needed depend on whether the node rectifies images or they are rectified
    already, which may change. Safe to use from several threads: the state is one immutable object.
    """

    def __init__(self) -> None:
        self._rectifies: Callable[[], bool] = lambda: True
        self._claimed: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._state = _State({True: _NOTHING, False: _NOTHING})

    def follow(self, rectifies: Callable[[], bool], *, claimed: Callable[[], bool]) -> None:
        """Set how to find out whether images are rectified.

        Args:
            rectifies: Returns whether the node rectifies them; before this call, it does.
            claimed: Returns whether only a parameter claims that they are rectified already: the
                name of their topic does not.
        """
        self._rectifies = rectifies
        self._claimed = claimed

    def update(self, info: CameraInfo) -> str:
        """Read a camera_info.

        Returns:
            Why it cannot be used, if that has changed, else empty.
        """
        _, before = self._reading(self._state)
        readings = {rectifies: _read(info, rectified=not rectifies) for rectifies in (True, False)}
        self._change(readings=readings, distorted=any(info.d))
        _, problem = self._reading(self._state)
        return "" if problem == before else problem

    def restart(self) -> None:
        """Forget the problems of the images so far."""
        self._change(size_problem="", unseen_problem="")

    def of_image(self, *, height: int, width: int) -> Calibration | None:
        """Return the calibration for an image of this size, or None.

        If images are rectified already, its `is_rectified` is true.
        """
        calibration, _ = self._reading(self._state)
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
        self._change(size_problem=size_problem, unseen_problem=unseen_problem)
        return calibration

    @property
    def camera(self) -> Camera | None:
        """Camera of the newest calibration, or None."""
        calibration, _ = self._reading(self._state)
        return None if calibration is None else calibration.camera

    @property
    def size_problem(self) -> str:
        """Difference in size to the newest image, else empty."""
        return self._state.size_problem

    @property
    def unseen_problem(self) -> str:
        """Share of the newest image that rectification leaves black, if large, else empty."""
        return self._state.unseen_problem

    @property
    def problems(self) -> list[str]:
        """Return why the images have no calibration, or one that hardly fits."""
        state = self._state
        calibration, problem = self._reading(state)
        lens = state.distorted and calibration is not None and self._claimed()
        problems = (
            problem,
            state.size_problem,
            state.unseen_problem,
            _CLAIMED_PROBLEM if lens else "",
        )
        return list(filter(None, problems))

    def _reading(self, state: _State) -> _Reading:
        return state.readings[self._rectifies()]

    def _change(self, **changes: object) -> None:
        """Replace the state; the lock keeps changes of two threads from undoing each other."""
        with self._lock:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        calibration, problem = self._reading(self._state)
        if calibration is None:
            return problem
        camera = calibration.camera
        return (
            f"{camera.width}x{camera.height}, fx {camera.fx:.2f} fy {camera.fy:.2f} "
            f"cx {camera.cx:.2f} cy {camera.cy:.2f}"
        )


def _read(info: CameraInfo, *, rectified: bool) -> _Reading:
    try:
        return calibration_from_info(info, rectified=rectified), ""
    except DepthFormerError as error:
        return None, f"camera_info is unusable: {error}"


def _unseen_problem(calibration: Calibration) -> str:
    share = calibration.unseen_share
    if share <= MOST_UNSEEN:
        return ""
    return (
        f"rectifying leaves {share:.0%} of the image black: if the images are rectified already, "
        "set input.rectify to never"
    )
