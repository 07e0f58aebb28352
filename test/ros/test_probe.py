import os
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.probe import ProbeError, processor_time, resident_memory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux's /proc"
)


def test_resident_memory() -> None:
    assert resident_memory(os.getpid()) > 10**6
    with pytest.raises(ProbeError, match="process 4194999"):
        resident_memory(4194999)


def test_processor_time() -> None:
    before, start = processor_time(os.getpid()), time.process_time()
    while time.process_time() < start + 0.3:
        pass
    spent = processor_time(os.getpid()) - before
    # Other threads of this process may have worked too.
    assert 0.25 < spent < time.process_time() - start + 0.1
    with pytest.raises(ProbeError, match="process 4194999"):
        processor_time(4194999)
