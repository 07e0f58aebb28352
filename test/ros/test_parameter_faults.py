"""Invalid parameters, one at a time and a thousand at once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

SETS = 1000
# The middleware keeps that many requests for a service that is busy.
AT_ONCE = 8


def get(robot: Any, *names: str) -> list[ParameterValue]:
    request = GetParameters.Request(names=list(names))
    name = f"{robot.namespace}/depthformer/get_parameters"
    return list(robot.peer.call(GetParameters, name, request).values)


def test_of_several_each_is_judged_by_itself(robot: Any) -> None:
    """The service `set_parameters` takes the good ones; only the atomic one takes all or none."""
    values = {"points.stride": 3, "depth.max": -1.0, "checkpoint": "small", "no.such": 1}
    request = SetParameters.Request(
        parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
    )
    name = f"{robot.namespace}/depthformer/set_parameters"
    try:
        results = robot.peer.call(SetParameters, name, request).results
        assert [result.successful for result in results] == [True, False, False, False]
        assert [bool(result.reason) for result in results] == [False, True, True, True]
        stride, limit = get(robot, "points.stride", "depth.max")
        assert (stride.integer_value, limit.double_value) == (3, 0.0)
    finally:
        assert robot.set(points__stride=1).successful


@pytest.mark.parametrize(
    "parameter",
    [
        pytest.param(ParameterMessage(name="points.stride"), id="unset"),
        pytest.param(
            ParameterMessage(name="points.stride", value=ParameterValue(type=77)), id="no such type"
        ),
        pytest.param(ParameterMessage(name="", value=ParameterValue(type=2)), id="no name"),
        pytest.param(ParameterMessage(name="\0\n" * 999, value=ParameterValue(type=2)), id="noise"),
        pytest.param(
            ParameterMessage(
                name="depth.max", value=ParameterValue(type=3, double_value=float("nan"))
            ),
            id="nan",
        ),
        pytest.param(
            ParameterMessage(name="use_sim_time", value=ParameterValue(type=2)), id="rclpy's own"
        ),
    ],
)
def test_what_is_no_value_is_refused_with_all_the_rest(
    robot: Any, parameter: ParameterMessage
) -> None:
    before = get(robot, "points.stride")
    good = Parameter("points.stride", value=7).to_parameter_msg()
    request = SetParametersAtomically.Request(parameters=[good, parameter])
    name = f"{robot.namespace}/depthformer/set_parameters_atomically"
    assert not robot.peer.call(SetParametersAtomically, name, request).result.successful
    assert get(robot, "points.stride") == before
    image = robot.image()
    robot.prediction(image)
    assert robot.partner(image, robot.clouds).width == 96


@pytest.mark.timeout(900)
def test_a_thousand_sets_while_images_come(robot: Any, wait_until: Callable[..., Any]) -> None:
    name = f"{robot.namespace}/depthformer/set_parameters_atomically"
    client = robot.peer.node.create_client(SetParametersAtomically, name)
    assert client.wait_for_service(60)
    free = threading.Semaphore(AT_ONCE)
    successes: dict[int, bool] = {}

    def send(number: int) -> None:
        """Every third one is refused: its last value is none of those allowed."""
        values = {
            "points.stride": 1 + number % 4,
            "depth.max": 1.0 + number % 1000,
            "diagnostics.period": 0.2 + 0.1 * (number % 2),
            "depth.encoding": "32FC1" if number % 3 else "8UC1",
        }
        messages = [Parameter(key, value=value).to_parameter_msg() for key, value in values.items()]
        future = client.call_async(SetParametersAtomically.Request(parameters=messages))

        def done(future: Any) -> None:
            successes[number] = future.result().result.successful
            free.release()

        future.add_done_callback(done)

    try:
        for number in range(SETS):
            assert free.acquire(timeout=120)
            if number % 20 == 0:
                robot.send(robot.image())
            send(number)
        wait_until(lambda: len(successes) == SETS, "responses to all sets")
        assert [successes[number] for number in range(SETS)] == [
            number % 3 != 0 for number in range(SETS)
        ]
        stride, limit = get(robot, "points.stride", "depth.max")
        # 998 was the last good one.
        assert (stride.integer_value, limit.double_value) == (1 + 998 % 4, 999.0)
    finally:
        robot.peer.in_turn(lambda: robot.peer.node.destroy_client(client))
        restored = robot.set(points__stride=1, depth__max=0.0, diagnostics__period=0.2)
        assert restored.successful
    robot.forget()
    image = robot.image()
    robot.prediction(image)
    assert robot.partner(image, robot.clouds).width == 96


@pytest.mark.timeout(900)
def test_a_flood_of_sets_nobody_waits_for(robot: Any, wait_until: Callable[..., Any]) -> None:
    name = f"{robot.namespace}/depthformer/set_parameters_atomically"
    client = robot.peer.node.create_client(SetParametersAtomically, name)
    assert client.wait_for_service(60)

    def send(stride: int) -> Any:
        message = Parameter("points.stride", value=stride).to_parameter_msg()
        return client.call_async(SetParametersAtomically.Request(parameters=[message]))

    try:
        for _ in range(SETS):
            send(0)
        robot.prediction(robot.image())
        last = send(1)
        wait_until(last.done, "response to the last set")
        assert last.result().result.successful
    finally:
        robot.peer.in_turn(lambda: robot.peer.node.destroy_client(client))
    robot.runs()
