"""The node's message on /diagnostics, and the log message about a bottleneck."""

from collections.abc import Mapping, Sequence

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from depthformer_ros.node.frame_statistics import InputState, Report

# Aggregators set STALE for a node that has stopped reporting.
_INPUT_LEVELS = {
    InputState.WAITING: DiagnosticStatus.WARN,
    InputState.RUNNING: DiagnosticStatus.OK,
    InputState.STALE: DiagnosticStatus.ERROR,
    InputState.REJECTED: DiagnosticStatus.ERROR,
}
_TASK = ": depth"
# Share of the requested images below which the log names the bottleneck.
_KEEPS_UP = 0.9
# Share of the time between two images from which on a stage is the bottleneck.
_BUSY = 0.5


def status_name(node: str) -> str:
    """Name the status of a depth node as diagnostic_updater does with use_fqn.

    Aggregators find it by the node's namespace or name. Nodes of one name in two namespaces have
    two statuses.

    Args:
        node: Full name of the node, `/robot/depthformer`.
    """
    return f"{node}{_TASK}"


def described_node(name: str) -> str:
    """Return the full name of the depth node of a status; empty for the status of another node."""
    return name.removesuffix(_TASK) if name.endswith(_TASK) else ""


def diagnostic_status(
    report: Report,
    *,
    name: str,
    hardware_id: str,
    mode: str,
    errors: Sequence[str] = (),
    warnings: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
) -> DiagnosticStatus:
    """Build the status of the node.

    Args:
        report: The statistics.
        name: Name of the status, see `status_name`.
        hardware_id: The device the network runs on; empty if there is none.
        mode: `active` while frames are taken, else `paused`, or the lifecycle state
            `unconfigured`, `inactive` or `finalized`. Then the state of the input is ignored.
        errors: What stops the node from predicting.
        warnings: What makes its predictions worse.
        values: Additional keys and values.
    """
    findings = [(DiagnosticStatus.ERROR, text) for text in errors]
    if mode == "active":
        text = f"input {report.state.value}"
        if report.state is InputState.REJECTED:
            text += f": {report.rejection}"
        findings.append((_INPUT_LEVELS[report.state], text))
        if report.failure:
            findings.append((DiagnosticStatus.ERROR, f"last frame failed: {report.failure}"))
        if report.nonfinite_count:
            text = f"the network returned {report.nonfinite_count} values that are not finite"
            findings.append((DiagnosticStatus.ERROR, text))
    else:
        findings.append((DiagnosticStatus.OK, mode))
    findings += [(DiagnosticStatus.WARN, text) for text in warnings]

    status = DiagnosticStatus(name=name, hardware_id=hardware_id or "none")
    status.level = max(level for level, _ in findings)
    status.message = "; ".join(text for _, text in findings)
    rows: dict[str, object] = {
        "mode": mode,
        "input state": report.state.value,
        "last rejection": report.rejection,
        "last failure": report.failure,
        "input rate (Hz)": f"{report.input_rate:.2f}",
        "output rate (Hz)": f"{report.output_rate:.2f}",
        "received": report.received,
        "answered": report.predicted,
    }
    for outcome, reasons in (
        ("rejected", report.rejected),
        ("dropped", report.dropped),
        ("failed", report.failed),
    ):
        rows[outcome] = sum(reasons.values())
        rows |= {f"{outcome}: {reason}": reasons[reason] for reason in sorted(reasons)}
    rows["answered with values not finite"] = report.nonfinite_frames
    for stage, spent in report.stages.items():
        rows[f"{stage} p50 (ms)"] = f"{1e3 * spent.p50:.2f}"
        rows[f"{stage} p95 (ms)"] = f"{1e3 * spent.p95:.2f}"
        rows[f"{stage} p99 (ms)"] = f"{1e3 * spent.p99:.2f}"
    rows |= values or {}
    status.values = [KeyValue(key=key, value=str(value)) for key, value in rows.items()]
    return status


def diagnostic_array(status: DiagnosticStatus, *, stamp: Time) -> DiagnosticArray:
    """Wrap a status with its time."""
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def bottleneck_message(report: Report) -> str:
    """Name the stage that limits the rate, and the remedy; empty if there is none."""
    wanted_rate = report.output_rate + report.superseded_rate
    if not 0 < report.output_rate < _KEEPS_UP * wanted_rate:
        return ""
    stages = {name: spent for name, spent in report.stages.items() if name != "total"}
    if not stages:
        return ""
    slowest = max(stages, key=lambda name: stages[name].p50)
    # Over a few images the rates differ by chance.
    if stages[slowest].p50 * wanted_rate < _BUSY:
        return ""
    helps = {
        "infer": "a GPU, precision bfloat16, flip false or a smaller checkpoint helps",
        "publish": "a larger points.stride or fewer subscribers help",
    }.get(slowest, "smaller images help")
    return (
        f"predicting {report.output_rate:.1f} of {wanted_rate:.1f} images a second, the "
        f"newest ones: {slowest} takes {1e3 * stages[slowest].p50:.0f} ms; {helps}"
    )
