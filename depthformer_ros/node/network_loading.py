"""The network of the node: loading and warm-up."""

import numpy as np

from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.inference.rotate import rotate_image
from depthformer_core.paths import user_path
from depthformer_ros.node.parameters import NodeParameters

# Height and width of the warm-up image, upright: those of a KITTI camera.
_WARM_UP_SIZE = (375, 1242)


def load_predictor(parameters: NodeParameters) -> DepthPredictor:
    """Load the network that the parameters name, and run it once.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        DepthFormerError: The device or an option is unknown or missing, or the calibration is for
            another checkpoint or another way to read images.
    """
    predictor = DepthPredictor.from_checkpoint(
        parameters.checkpoint,
        device=parameters.device,
        precision=parameters.precision,
        crop=parameters.input_crop,
        focal=parameters.input_focal,
        flip=parameters.flip,
        rotate=parameters.input_rotate,
        compile=parameters.compile,
        calibration=str(user_path(parameters.depth_calibration))
        if parameters.depth_calibration
        else None,
    )
    rgb = rotate_image(np.zeros((*_WARM_UP_SIZE, 3), np.uint8), -predictor.rotate)
    camera: Camera | None = None
    if predictor.calibration is not None:
        # Another way to read images than the calibration's is refused here, before any image.
        camera = predictor.calibration.camera
        rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
    elif predictor.network.size is not None:
        # Which camera an exported network is for shows with its first image.
        predictor.network.run(np.zeros((*predictor.network.size, 3), np.uint8))
        return predictor
    predictor.predict(rgb, camera)
    return predictor
