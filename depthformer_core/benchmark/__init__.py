"""Time and memory of networks, whole and by stages, beside their baselines in the same run."""

from typing import TYPE_CHECKING

from depthformer_core.lazy import lazy_imports

if TYPE_CHECKING:
    from depthformer_core.benchmark.description import machine
    from depthformer_core.benchmark.report import format_report, to_json
    from depthformer_core.benchmark.result import Result
    from depthformer_core.benchmark.run import run_benchmark

__all__ = ["run_benchmark", "Result", "format_report", "to_json", "machine"]

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "run_benchmark": "run",
        "Result": "result",
        "format_report": "report",
        "to_json": "report",
        "machine": "description",
    },
)
