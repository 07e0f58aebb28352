"""Checks of the network: its checkpoint, and a self-test on a generated street."""

import time
from dataclasses import dataclass

import numpy as np

from depthformer_core.checkpoint import CheckpointError
from depthformer_core.data.dataset import Frame
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.errors import DepthFormerError, first_line
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.exported_network import is_exported
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.inference.sessions import parse_device
from depthformer_core.presets import preset_name
from depthformer_core.pytorch import needing_pytorch
from depthformer_core.synthetic import STREET_CAMERA, SyntheticDataset
from depthformer_core.types import FloatArray
from depthformer_core.weights import SHIPPED_NOTES

# A frame that no training has seen; the shipped weights have an AbsRel of 0.104 on it.
_FRAME = 2
_SHIPPED_ABS_REL = 0.2
# Smaller differences of depth over a street are the prediction of a dead network, metres.
_FLAT = 0.01
# Time of a frame that is too slow for a moving robot, seconds.
_SLOW = 1.0
# Seconds; after a frame that took longer, no second one is timed.
_PATIENCE = 10.0


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """Result of the self-test on one street.

    Attributes:
        failure: Why there is no prediction, else empty.
        nonfinite_count: Values that are not finite, within the part of the image that is predicted.
        lowest: Smallest depth, metres.
        highest: Largest depth, metres.
        abs_rel: Mean relative error.
        first: Time of the first frame, seconds.
        second: Time of the second one; None if the first took too long.
    """

    failure: str = ""
    nonfinite_count: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    abs_rel: float = 0.0
    first: float = 0.0
    second: float | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """Facts about a network.

    Attributes:
        checkpoint: Its checkpoint.
        exported: Whether it is an exported network, without PyTorch.
        device_failure: Why there is no such device, or nothing that runs it there, else empty.
        failure: Why it could not be loaded, else empty.
        preset: The preset it is of; empty for none.
        parameters: Number of its weights.
        trained: Whether they were trained.
        shipped: Whether they come with the package, and are tried on the camera known for them.
        largest: Largest depth it can predict, metres.
        device: Its device.
        precision: Its precision.
        attention: Implementation of its attention, and why.
        test: Result of the self-test; None if it was not loaded.
    """

    checkpoint: str
    exported: bool = False
    device_failure: str = ""
    failure: str = ""
    preset: str = ""
    parameters: int = 0
    trained: bool = True
    shipped: bool = False
    largest: float = 0.0
    device: str = ""
    precision: str = ""
    attention: str = ""
    test: SelfTest | None = None


def gather_network(checkpoint: str, *, device: str) -> NetworkFacts:
    """Load a network and run it.

    Args:
        checkpoint: As for `DepthPredictor.from_checkpoint`.
        device: As for `DepthPredictor.from_checkpoint`.
    """
    exported = is_exported(checkpoint)
    try:
        _check_device(device, checkpoint)
        predictor = DepthPredictor.from_checkpoint(checkpoint, device=device)
    except (CheckpointError, RuntimeError) as error:
        return NetworkFacts(checkpoint=checkpoint, exported=exported, failure=first_line(error))
    except DepthFormerError as error:
        return NetworkFacts(
            checkpoint=checkpoint, exported=exported, device_failure=first_line(error)
        )
    config = predictor.config
    frame = _street(predictor)
    test = _test(predictor, frame)
    return NetworkFacts(
        checkpoint=checkpoint,
        exported=exported,
        preset=preset_name(config, predictor.network.origin or checkpoint),
        parameters=predictor.network.parameter_count,
        trained=predictor.trained,
        # What is known of those weights is known of the usual street.
        shipped=predictor.shipped and frame.camera == STREET_CAMERA,
        largest=config.max_depth,
        device=str(predictor.device),
        precision=predictor.precision,
        # After the test, which is when a kernel that does not compile shows.
        attention=predictor.network.attention,
        test=test,
    )


def examine_network(facts: NetworkFacts) -> list[Finding]:
    """Judge a network."""
    if facts.device_failure:
        advice = "use auto, or see GPU above"
        if facts.exported:
            advice = "take --device cpu, or see runtime and GPU above"
        return [problem("device", facts.device_failure, advice=advice)]
    if facts.failure or facts.test is None:
        return [
            problem(
                "checkpoint",
                facts.failure,
                cause="the node stays unconfigured with it",
                advice="name a file that `depthformer export` wrote, with its whole path"
                if facts.exported
                else "name a file that `depthformer train` or `depthformer convert` wrote, with "
                "its whole path, small or small_kitti",
            )
        ]
    findings = [_checkpoint(facts)]
    slow = facts.device.startswith("cuda") and facts.attention.startswith("portable")
    where = f"{facts.attention}, on {facts.device} in {facts.precision}"
    if slow:
        findings.append(warning("attention", where, cause="right, but slower than the CUDA kernel"))
    else:
        findings.append(ok("attention", where))
    findings.append(_self_test(facts, facts.test))
    return findings


def _checkpoint(facts: NetworkFacts) -> Finding:
    kind = f"preset {facts.preset}" if facts.preset else "no preset's architecture"
    found = (
        f"{facts.checkpoint}: {kind}, {facts.parameters / 1e6:.1f} M parameters, "
        f"depth up to {facts.largest:g} m"
    )
    if not facts.trained:
        return warning(
            "checkpoint",
            f"{found}, random weights",
            cause="its depth means nothing",
            advice="name a .safetensors file; without a name, the weights that come with the "
            "package are taken",
        )
    note = SHIPPED_NOTES.get(facts.checkpoint)
    return ok("checkpoint", f"{found}. {note}" if facts.shipped and note else f"{found}, trained")


def _self_test(facts: NetworkFacts, test: SelfTest) -> Finding:
    subject = "self-test"
    if test.failure:
        memory = "out of memory" in test.failure.lower()
        return problem(
            subject,
            f"the network fails on a generated street: {test.failure}",
            cause="other processes hold the GPU's memory, or the network is too large for it"
            if memory
            else "",
            advice="end them (nvidia-smi lists them), or take a smaller checkpoint"
            if memory
            else f"try --device cpu: if that works, {_runtime(facts)}, CUDA and driver do not fit "
            "together",
        )
    if test.nonfinite_count:
        exact = facts.precision == "float32"
        return problem(
            subject,
            f"{test.nonfinite_count} depths of a generated street are not finite",
            cause="the weights are damaged"
            + ("" if exact else f", or {facts.precision} is too coarse for them"),
            advice=("export the checkpoint anew" if facts.exported else "load the checkpoint anew")
            + ("" if exact else f", or use {_exact(facts)}"),
        )
    low, high = test.lowest, test.highest
    span = f"{low:.1f} to {high:.1f} m"
    if not 0 <= low <= high <= 1.001 * facts.largest:
        return problem(
            subject,
            f"depth of a generated street is {span}, out of the network's 0 to {facts.largest:g} m",
            cause="the network computes nonsense here",
            advice="report it, with all of this output",
        )
    pace = test.first if test.second is None else test.second
    speed = f"{pace:.2f} s a frame" + ("" if test.second is None else f", {test.first:.2f} s first")
    # Other networks may be trained on images unlike these.
    error = f", wrong by {100 * test.abs_rel:.0f} %" if facts.shipped else ""
    found = f"a generated street is {span} deep{error}; {speed}"
    if facts.shipped and test.abs_rel > _SHIPPED_ABS_REL:
        return problem(
            subject,
            found,
            cause=f"these weights are wrong by less than {100 * _SHIPPED_ABS_REL:.0f} % there "
            "where all is well",
            advice="try --device cpu; report it, with all of this output",
        )
    if high - low < _FLAT and facts.trained:
        return problem(
            subject,
            found,
            cause="the same depth everywhere: the network has died in training",
            advice="take another checkpoint",
        )
    if pace > _SLOW:
        return warning(
            subject,
            found,
            cause="so slow, the prediction of an image is late",
            advice="take a GPU or a smaller checkpoint"
            if facts.exported
            else "take a GPU, a smaller checkpoint, or precision:=bfloat16",
        )
    return ok(subject, found)


def describe_prediction(
    depth: FloatArray, truth: FloatArray, *, first: float, second: float | None
) -> SelfTest:
    """Describe the prediction of a frame.

    Args:
        depth: (H, W), metres; NaN around the part that is predicted.
        truth: (H, W), metres, infinite where it does not count.
        first: Time of the first frame, seconds.
        second: Time of the second one, if there was one.
    """
    finite = np.isfinite(depth)
    if not finite.any():
        return SelfTest(nonfinite_count=depth.size, first=first, second=second)
    window = np.ix_(finite.any(axis=1), finite.any(axis=0))
    known = finite & np.isfinite(truth)
    return SelfTest(
        nonfinite_count=int((~finite[window]).sum()),
        lowest=float(depth[finite].min()),
        highest=float(depth[finite].max()),
        abs_rel=float(np.mean(np.abs(depth[known] / truth[known] - 1))),
        first=first,
        second=second,
    )


def _check_device(device: str, checkpoint: str) -> None:
    """Raise `DepthFormerError` for a device that is unknown, or that PyTorch does not see."""
    if is_exported(checkpoint):
        parse_device(device)
        return
    with needing_pytorch(checkpoint):
        from depthformer_core.device import resolve_device
    resolve_device(device)


def _runtime(facts: NetworkFacts) -> str:
    return "ONNX Runtime" if facts.exported else "PyTorch"


def _exact(facts: NetworkFacts) -> str:
    return "one exported in float32" if facts.exported else "precision:=float32"


def _street(predictor: DepthPredictor) -> Frame:
    """Return a generated street, seen by a camera that the network can read."""
    usual = SyntheticDataset(part="test")[_FRAME]
    size, config = predictor.network.size, predictor.config
    if size is None:
        return usual
    try:
        predictor.check_camera(STREET_CAMERA)
    except DepthFormerError:
        # An exported network may be for a camera of another size.
        focal = config.focal_length or STREET_CAMERA.fx * size[1] / STREET_CAMERA.width
        camera = Camera(size[1], size[0], focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2)
        return SyntheticDataset(part="test", camera=camera)[_FRAME]
    return usual


def _test(predictor: DepthPredictor, frame: Frame) -> SelfTest:
    assert frame.depth is not None
    second = None
    try:
        start = time.monotonic()
        depth = predictor.predict(frame.rgb, frame.camera).depth
        first = time.monotonic() - start
        if first < _PATIENCE:
            start = time.monotonic()
            predictor.predict(frame.rgb, frame.camera)
            second = time.monotonic() - start
    except (DepthFormerError, RuntimeError) as error:
        return SelfTest(failure=first_line(error))
    return describe_prediction(depth, frame.depth, first=first, second=second)
