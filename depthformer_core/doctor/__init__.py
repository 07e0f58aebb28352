"""Why a robot shows no depth: what is checked, what was found, and what to do about it.

Each part gathers facts first and judges them in a pure function. What takes ROS to gather is
gathered by `depthformer_ros.doctor`, in a process of its own.
"""

from depthformer_core.doctor.examination import examine
from depthformer_core.doctor.finding import Finding, Level, summary

__all__ = ["examine", "summary", "Finding", "Level"]
