"""`depthformer doctor`."""

import sys
from dataclasses import dataclass
from datetime import datetime

import tyro


@dataclass(frozen=True)
class DoctorOptions:
    """Find out why a robot shows no depth: machine, network, ROS 2, camera, node, listeners.

    Changes nothing. Exit code 1 means that there is a problem.
    """

    checkpoint: tyro.conf.Positional[str] = "small"
    """A safetensors file, one of the official release, or an exported network (.onnx), to try;
    small or small_kitti for weights that come with the package."""
    topic: tuple[str, ...] = ()
    """Topics of the cameras that the robot is to look through."""
    device: str = "auto"
    """Device to try the network on: auto, cpu, cuda or cuda:N; of an exported network
    tensorrt or openvino too."""


def doctor(options: DoctorOptions) -> None:
    """Run `depthformer doctor`."""
    from depthformer_core.doctor import Level, summary
    from depthformer_ros.doctor.examination import examine

    print(f"depthformer doctor, {datetime.now().astimezone().isoformat(timespec='seconds')}")
    found = []
    for part, findings in examine(options.checkpoint, device=options.device, topics=options.topic):
        print(f"\n{part}", *findings, sep="\n", flush=True)
        found += findings
    print(f"\n{summary(found)}")
    if any(finding.level is Level.PROBLEM for finding in found):
        sys.exit(1)
