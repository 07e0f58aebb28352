"""From camera images to depth on their own pixels."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from depthformer_core import PRESETS, DepthPredictor, create_model
from depthformer_core.checkpoint import CheckpointError, save_checkpoint
from depthformer_core.config import Crop, Focal
from depthformer_core.geometry.camera import Calibration, Camera


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    return DepthPredictor.from_checkpoint("debug", device="cpu")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_crop_is_surrounded_by_nan(predictor: DepthPredictor) -> None:
    prediction = predictor.predict(picture(375, 1242))
    assert prediction.depth.shape == (375, 1242)
    assert prediction.depth.dtype == np.float32
    inside = np.zeros((375, 1242), bool)
    inside[23:, 13 : 13 + 1216] = True
    np.testing.assert_array_equal(prediction.valid, inside)
    assert prediction.uncertainty is None


def test_crop_sees_only_its_window(predictor: DepthPredictor) -> None:
    image = picture(375, 1242)
    whole = predictor.predict(image).depth[23:, 13 : 13 + 1216]
    window = DepthPredictor.from_checkpoint("debug", device="cpu", crop="none")
    alone = window.predict(image[23:, 13 : 13 + 1216]).depth
    np.testing.assert_array_equal(whole, alone)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (480, 640), (33, 1300)])
@pytest.mark.parametrize("crop", ["kitti", "none"])
def test_any_size(size: tuple[int, int], crop: str) -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", crop=crop)
    prediction = predictor.predict(picture(*size))
    assert prediction.depth.shape == size
    predicted = prediction.depth[prediction.valid]
    assert predicted.size
    config = PRESETS["debug"]
    assert config.min_depth <= predicted.min() <= predicted.max() <= config.max_depth


def test_input_is_normalised_rgb() -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", precision="float32")
    image = picture(32, 48)
    mean = np.array([123.675, 116.28, 103.53], np.float32)
    deviation = np.array([58.395, 57.12, 57.375], np.float32)
    normalised = (image.astype(np.float32) - mean) / deviation
    with torch.inference_mode():
        depth = predictor.model(torch.from_numpy(normalised).permute(2, 0, 1)[None])
    np.testing.assert_allclose(predictor.predict(image).depth, depth[0, 0].numpy(), rtol=1e-5)


def test_flip_averages_and_has_the_difference(predictor: DepthPredictor) -> None:
    image = picture(40, 60)
    straight = predictor.predict(image).depth
    mirrored = predictor.predict(image[:, ::-1]).depth[:, ::-1]
    both = DepthPredictor.from_checkpoint("debug", device="cpu", flip=True).predict(image)
    np.testing.assert_allclose(both.depth, (straight + mirrored) / 2, rtol=1e-5)
    assert both.uncertainty is not None
    np.testing.assert_allclose(both.uncertainty, abs(straight - mirrored) / 2, atol=1e-5)


def test_flip_uncertainty_is_nan_outside_the_crop() -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", flip=True)
    prediction = predictor.predict(picture(360, 100))
    assert prediction.uncertainty is not None
    np.testing.assert_array_equal(np.isfinite(prediction.uncertainty), prediction.valid)
    assert not prediction.valid[:8].any()
    assert prediction.valid[8:].all()


def test_bfloat16_is_close_to_float32(predictor: DepthPredictor) -> None:
    image = picture(64, 96)
    half = DepthPredictor.from_checkpoint("debug", device="cpu", precision="bfloat16")
    assert half.precision == "bfloat16"
    np.testing.assert_allclose(
        half.predict(image).depth, predictor.predict(image).depth, rtol=0.05, atol=0.05
    )


def test_preset_is_untrained_and_repeatable(predictor: DepthPredictor) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = DepthPredictor.from_checkpoint("debug", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.trained
    image = picture(32, 32)
    np.testing.assert_array_equal(again.predict(image).depth, predictor.predict(image).depth)


def test_file_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = create_model("debug")
    save_checkpoint(path, model)
    predictor = DepthPredictor.from_checkpoint(path, device="cpu")
    assert predictor.trained
    assert predictor.checkpoint == str(path)
    expected = DepthPredictor(model, device="cpu").predict(picture(32, 32)).depth
    np.testing.assert_allclose(predictor.predict(picture(32, 32)).depth, expected, rtol=1e-3)


def test_strided_images_are_taken(predictor: DepthPredictor) -> None:
    image = picture(32, 48)
    wide = np.zeros((32, 100, 3), np.uint8)
    wide[:, :96:2] = image
    np.testing.assert_array_equal(
        predictor.predict(wide[:, :96:2]).depth, predictor.predict(image).depth
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (np.zeros((4, 4), np.uint8), r"got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (None, "got NoneType"),
    ],
    ids=["float", "grey", "alpha", "empty", "none"],
)
def test_bad_image_is_named(predictor: DepthPredictor, image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "got 'tpu'"),
        ({"device": "meta"}, "got 'meta'"),
        ({"device": "cuda:99"}, "'cuda:99' requested"),
        ({"precision": "int8"}, "got 'int8'"),
        ({"crop": "left"}, "got 'left'"),
        ({"focal": "guess"}, "got 'guess'"),
    ],
)
def test_bad_option_is_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthPredictor.from_checkpoint("debug", **{"device": "cpu", **options})


def test_unknown_checkpoint_is_named() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at nothing; it is no preset either"):
        DepthPredictor.from_checkpoint("nothing", device="cpu")


def test_a_network_that_cannot_be_compiled_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch 2.11 fails on a GPU like this, in its own code."""

    def fail(*_: object, **__: object) -> object:
        def call(_: torch.Tensor) -> torch.Tensor:
            raise TorchDynamoException("CantSplit.__init__() missing\nmore")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", compile=True)
    message = "cannot compile the network for cpu: CantSplit.__init__.. missing; use compile=False"
    with pytest.raises(ValueError, match=message):
        predictor.predict(picture(32, 48))


@pytest.mark.gpu
def test_gpu_agrees_with_the_cpu() -> None:
    image = picture(96, 128)
    # Some processors compute in bfloat16 unless the precision is set.
    gpu, cpu = (
        DepthPredictor.from_checkpoint("debug", device=device, precision="float32")
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(
        gpu.predict(image).depth, cpu.predict(image).depth, rtol=1e-3, atol=1e-3
    )


def knowing(focal_length: float, *, focal: Focal = "resize", crop: Crop = "none") -> DepthPredictor:
    """A predictor of a network with a focal length at 96 columns."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = dataclasses.replace(
            PRESETS["debug"],
            focal_length=focal_length,
            image_width=96,
            image_height=64,
            crop=crop,
        )
        return DepthPredictor(create_model(config), device="cpu", focal=focal)


def camera_of(image: np.ndarray, focal_length: float) -> Camera:
    height, width = image.shape[:2]
    return Camera(width, height, focal_length, focal_length, width / 2, height / 2)


def test_resized_images_have_the_focal_length_the_network_knows() -> None:
    image = picture(64, 96)
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    expected = knowing(80).predict(image, camera_of(image, 80)).depth
    depth = knowing(80).predict(large, camera_of(large, 160)).depth
    assert depth.shape == (128, 192)
    # Each pixel of the small image is the middle of four here.
    back = depth.reshape(64, 2, 96, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(back[1:-1, 1:-1], expected[1:-1, 1:-1], atol=0.1)


def test_depth_is_scaled_by_the_ratio_of_focal_lengths() -> None:
    image = picture(64, 96)
    expected = knowing(80, focal="none").predict(image, camera_of(image, 160)).depth
    depth = knowing(80, focal="scale").predict(image, camera_of(image, 160)).depth
    np.testing.assert_allclose(depth, 2 * expected, rtol=1e-6)


def test_focal_none_keeps_the_image() -> None:
    image = picture(64, 96)
    expected = knowing(80).predict(image, camera_of(image, 80)).depth
    depth = knowing(80, focal="none").predict(image, camera_of(image, 500)).depth
    np.testing.assert_array_equal(depth, expected)


def test_unknown_camera_is_as_wide_as_the_training_images() -> None:
    image = picture(64, 192)
    expected = knowing(80).predict(image, camera_of(image, 160)).depth
    np.testing.assert_array_equal(knowing(80).predict(image).depth, expected)


def test_crop_of_a_resized_image_lies_where_it_was_taken() -> None:
    image = picture(400, 1300)
    prediction = knowing(80, crop="kitti").predict(image, camera_of(image, 40))
    # 352 rows and 1216 columns of 800x2600.
    expected = np.zeros((400, 1300), bool)
    expected[224:, 346:954] = True
    np.testing.assert_array_equal(prediction.valid, expected)


def test_view_of_a_wider_camera_is_the_image_that_the_network_knows() -> None:
    image = picture(200, 300)
    known = image[68:132, 102:198]
    expected = knowing(80, crop="view").predict(known, Camera(96, 64, 80, 80, 47.5, 31.5)).depth
    camera = Camera(300, 200, 80, 80, 149.5, 99.5)
    predictor = knowing(80, crop="view")
    depth = predictor.predict(image, camera).depth
    np.testing.assert_array_equal(depth[68:132, 102:198], expected)
    assert np.isfinite(depth).sum() == expected.size
    assert predictor.coverage(camera) == pytest.approx(expected.size / depth.size)


def test_view_of_a_narrower_camera_is_mirrored_at_its_borders() -> None:
    image = picture(52, 80)
    around = np.pad(image, ((6, 6), (8, 8), (0, 0)), mode="reflect")
    expected = knowing(80, crop="view").predict(around, Camera(96, 64, 80, 80, 47.5, 31.5)).depth
    camera = Camera(80, 52, 80, 80, 39.5, 25.5)
    predictor = knowing(80, crop="view")
    np.testing.assert_array_equal(predictor.predict(image, camera).depth, expected[6:58, 8:88])
    assert predictor.coverage(camera) == 1


def test_view_of_a_much_narrower_camera_is_enlarged_too() -> None:
    image = picture(20, 40)
    larger = cv2.resize(image, (52, 26), interpolation=cv2.INTER_LINEAR)
    around = np.pad(larger, ((19, 19), (22, 22), (0, 0)), mode="reflect")
    inside = knowing(80, crop="view").predict(around, Camera(96, 64, 80, 80, 47.5, 31.5)).depth
    # An enlarged scene appears nearer.
    expected = 1.3 * cv2.resize(inside[19:45, 22:74], (40, 20), interpolation=cv2.INTER_LINEAR)
    depth = knowing(80, crop="view").predict(image, Camera(40, 20, 80, 80, 19.5, 9.5)).depth
    np.testing.assert_allclose(depth, expected, rtol=1e-5)


def test_view_of_another_resolution_lies_where_it_was_taken() -> None:
    image = picture(400, 600)
    prediction = knowing(80, crop="view").predict(image, Camera(600, 400, 160, 160, 299.5, 199.5))
    expected = np.zeros((400, 600), bool)
    expected[136:264, 204:396] = True
    np.testing.assert_array_equal(prediction.valid, expected)


def test_with_flip_the_view_is_the_same() -> None:
    image = picture(54, 120)
    config = knowing(80, crop="view").config
    model = create_model(config)
    camera = Camera(120, 54, 80, 80, 59.5, 26.5)
    once = DepthPredictor(model, device="cpu").predict(image, camera)
    both = DepthPredictor(model, device="cpu", flip=True).predict(image, camera)
    assert both.uncertainty is not None
    np.testing.assert_array_equal(both.valid, once.valid)
    np.testing.assert_array_equal(np.isfinite(both.uncertainty), once.valid)


@pytest.mark.parametrize("focal", ["scale", "none"])
def test_without_resizing_the_view_is_unknown(focal: Focal) -> None:
    image = picture(100, 120)
    camera = camera_of(image, 50)
    whole = knowing(80, focal=focal).predict(image, camera).depth
    depth = knowing(80, focal=focal, crop="view").predict(image, camera).depth
    np.testing.assert_array_equal(depth, whole)


def test_view_needs_a_network_that_knows_its_images() -> None:
    with pytest.raises(ValueError, match="no image_height"):
        DepthPredictor(create_model("debug"), device="cpu", crop="view")


def test_network_without_a_focal_length_takes_images_as_they_are(
    predictor: DepthPredictor,
) -> None:
    image = picture(64, 96)
    assert predictor.focal == "none"
    np.testing.assert_array_equal(
        predictor.predict(image, camera_of(image, 30)).depth, predictor.predict(image).depth
    )


def test_camera_of_another_image_is_named(predictor: DepthPredictor) -> None:
    with pytest.raises(ValueError, match="image has size 96x64, its camera 96x65"):
        predictor.predict(picture(64, 96), Camera(96, 65, 80, 80, 47, 31))


def test_what_is_no_number_is_nan_and_counted() -> None:
    model = create_model("debug")
    predictor = DepthPredictor(model, device="cpu", precision="float32", crop="none")
    assert predictor.predict(picture(40, 60)).nonfinite_count == 0

    def insert_nan(module: object, given: object, depth: torch.Tensor) -> torch.Tensor:
        del module, given
        depth[..., 0, :5] = torch.inf
        depth[..., 1, :3] = torch.nan
        return depth

    model.register_forward_hook(insert_nan)
    prediction = predictor.predict(picture(40, 60))
    assert prediction.nonfinite_count == 8
    assert np.isnan(prediction.depth[0, :5]).all()
    assert prediction.valid.sum() == 40 * 60 - 8


@pytest.mark.parametrize("flip", [False, True])
def test_deprecated_names_have_the_values_of_the_new_ones(flip: bool) -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", flip=flip)
    with pytest.warns(DeprecationWarning, match="is called has_uncertainty now") as warned:
        assert predictor.gives_uncertainty is flip
    # A warning is of the line that uses the name.
    assert [warning.filename for warning in warned] == [__file__]
    prediction = dataclasses.replace(predictor.predict(picture(32, 32)), nonfinite_count=3)
    with pytest.warns(DeprecationWarning, match="is called nonfinite_count now") as warned:
        assert prediction.spoiled == 3
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("flip", [False, True])
def test_what_the_camera_never_saw_has_no_depth(flip: bool) -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", crop="none", flip=flip)
    image = np.maximum(picture(200, 320), 1)
    whole = predictor.predict(image)
    assert whole.valid.all()
    image[:, :30] = 0
    prediction = predictor.predict(image)
    assert not prediction.valid[:, :30].any()
    assert prediction.valid[:, 30:].all()
    assert prediction.depth.dtype == np.float32
    # That is no fault of the network, which sees the image as ever.
    assert prediction.nonfinite_count == 0
    if flip:
        assert prediction.uncertainty is not None
        np.testing.assert_array_equal(np.isfinite(prediction.uncertainty), prediction.valid)
        assert prediction.uncertainty.dtype == np.float32


def test_borders_outside_of_the_view_change_nothing() -> None:
    image = np.maximum(picture(200, 300), 1)
    camera = Camera(300, 200, 80, 80, 149.5, 99.5)
    predictor = knowing(80, crop="view")
    expected = predictor.predict(image, camera).depth
    image[:50] = 0
    np.testing.assert_array_equal(predictor.predict(image, camera).depth, expected)


@pytest.mark.parametrize("size", [(375, 1242), (480, 640), (60, 90)])
def test_a_black_image_has_no_depth(predictor: DepthPredictor, size: tuple[int, int]) -> None:
    prediction = predictor.predict(np.zeros((*size, 3), np.uint8))
    assert prediction.depth.shape == size
    assert not prediction.valid.any()
    assert prediction.nonfinite_count == 0


@pytest.mark.parametrize("fisheye", [False, True])
def test_depth_of_a_rectified_image_ends_where_it_saw_something(fisheye: bool) -> None:
    focal = 40.0 if fisheye else 80.0
    camera = Camera(96, 64, focal / 2, focal / 2, 47.5, 31.5)
    raw = (focal, 0.0, 47.5, 0.0, focal, 31.5, 0.0, 0.0, 1.0)
    calibration = Calibration(camera, raw, (), fisheye=fisheye)
    assert calibration.unseen_share > 0.02
    depth = knowing(80).predict(calibration.rectify(picture(64, 96)), camera).depth
    np.testing.assert_array_equal(np.isfinite(depth), calibration.seen)


@pytest.mark.parametrize("flip", [False, True])
def test_a_network_with_uncertainty_predicts_its_own(flip: bool) -> None:
    predictor = DepthPredictor.from_checkpoint("small", device="cpu", flip=flip)
    assert predictor.has_uncertainty
    given = predictor.predict(picture(188, 700))
    assert given.uncertainty is not None
    assert given.uncertainty.shape == given.depth.shape
    np.testing.assert_array_equal(np.isnan(given.uncertainty), np.isnan(given.depth))
    assert 0.01 < np.nanmedian(given.uncertainty / given.depth) < 1
    if flip:
        mirrored = predictor.predict(np.ascontiguousarray(picture(188, 700)[:, ::-1]))
        assert mirrored.uncertainty is not None
        np.testing.assert_allclose(
            mirrored.uncertainty[:, ::-1], given.uncertainty, rtol=1e-2, atol=1e-3
        )


def test_a_network_without_uncertainty_has_that_of_flip_alone() -> None:
    predictors = [
        DepthPredictor.from_checkpoint("debug", device="cpu", flip=flip) for flip in (False, True)
    ]
    assert [predictor.has_uncertainty for predictor in predictors] == [False, True]
    given = [predictor.predict(picture(64, 96)).uncertainty for predictor in predictors]
    assert given[0] is None
    assert given[1] is not None
