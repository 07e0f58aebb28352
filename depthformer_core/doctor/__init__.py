"""Why a robot shows no depth: what is checked, what was found, and what to do about it.

Each part gathers facts first and judges them in a pure function. The part that looks at ROS is
`depthformer_ros.doctor`.
"""

from depthformer_core.doctor.finding import Finding, Level, summary

__all__ = ["Finding", "Level", "summary"]
