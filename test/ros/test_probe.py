import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.probe import ProbeError, resident_memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_resident_memory() -> None:
    assert resident_memory(os.getpid()) > 10**6
    with pytest.raises(ProbeError, match="process 4194999"):
        resident_memory(4194999)
