"""Time and memory of networks, whole and by stages, beside their baselines in the same run."""

from depthformer_core.benchmark.report import format_report, machine, to_json
from depthformer_core.benchmark.result import Result
from depthformer_core.benchmark.run import run_benchmark

__all__ = ["run_benchmark", "Result", "format_report", "to_json", "machine"]
