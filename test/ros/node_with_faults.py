"""depth_node with faults for tests, each triggered by the width of an image.

The checkpoint `slow` takes minutes to load, and `broken` loads and cannot be started.
"""

import os
import signal
import time
from typing import Any

import torch
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.inference.torch_network import TorchNetwork
from depthformer_core.models import DepthFormer
from depthformer_ros.depth_node import main
from depthformer_ros.node.camera_input import CameraInput
from depthformer_ros.node.frame_processor import FrameProcessor

OUT_OF_MEMORY = 90
NOT_FINITE = 91
SLOW_FRAME = 92
SIGNAL_IN_FINALIZER = 93
LOST_DEVICE = 94
SLOW_LOAD = "slow"
BROKEN = "broken"


def log(text: str) -> None:
    print(text, flush=True)


class Finalized:
    """Ends the process as a supervisor does, where Python drops the error that comes of it."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)


def install() -> None:
    predict, forward = DepthPredictor.predict, DepthFormer.forward
    from_checkpoint, empty_cache = DepthPredictor.from_checkpoint, torch.cuda.empty_cache
    start, put = FrameProcessor.__init__, CameraInput._on_image
    width = 0

    def predict_or_fail(self: Any, rgb: Any, *args: Any) -> Any:
        nonlocal width
        width = rgb.shape[1]
        if width == OUT_OF_MEMORY:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB.")
        if width == LOST_DEVICE:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if width == SLOW_FRAME:
            log("slow frame")
            time.sleep(3)
        return predict(self, rgb, *args)

    def nonfinite_forward(self: Any, image: Any) -> Any:
        depth = forward(self, image)
        if width == NOT_FINITE:
            # So large that what is between them and good values is not all that comes out.
            depth[..., :4, :4] = torch.nan
            depth[..., 10:14, :4] = torch.inf
            depth[..., 20:24, :4] = -torch.inf
        return depth

    def load_slowly(checkpoint: Any, **options: Any) -> Any:
        if checkpoint == SLOW_LOAD:
            log("slow load")
            for _ in range(6000):
                time.sleep(0.1)
        if checkpoint == BROKEN:
            predictor = from_checkpoint("debug", **options)
            predictor.checkpoint = BROKEN
            return predictor
        return from_checkpoint(checkpoint, **options)

    def start_or_fail(self: Any, node: Any, **options: Any) -> None:
        if options["predictor"].checkpoint == BROKEN:
            raise RuntimeError("no thread to spare")
        start(self, node, **options)

    def put_and_end(self: Any, data: bytes) -> None:
        if deserialize_message(data, Image).width == SIGNAL_IN_FINALIZER:
            Finalized()
        put(self, data)

    def log_empty_cache() -> None:
        if width == LOST_DEVICE:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        empty_cache()
        log("cache freed")

    def works(_: Any) -> bool:
        return width != LOST_DEVICE

    TorchNetwork.works = works  # type: ignore[method-assign]
    DepthPredictor.predict = predict_or_fail  # type: ignore[method-assign]
    DepthFormer.forward = nonfinite_forward  # type: ignore[method-assign]
    DepthPredictor.from_checkpoint = load_slowly  # type: ignore[method-assign,assignment]
    torch.cuda.empty_cache = log_empty_cache
    FrameProcessor.__init__ = start_or_fail  # type: ignore[method-assign]
    CameraInput._on_image = put_and_end  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    main()
