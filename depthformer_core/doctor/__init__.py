"""Diagnosis of a robot without depth: checks, findings and advice.

Each part gathers facts first and judges them in a pure function. The part for ROS is
`depthformer_ros.doctor`.
"""

from depthformer_core.doctor.finding import Finding, Level, summary

__all__ = ["Finding", "Level", "summary"]
