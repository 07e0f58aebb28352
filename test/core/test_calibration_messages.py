"""Calibrations out of camera_info, as drivers fill it in."""

import math
from typing import Any

import numpy as np
import pytest

from depthformer_core.bags.calibration_messages import calibration_from_info, named_rectified
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.messages import camera_info_message
from depthformer_core.geometry.camera import IDENTITY, Calibration, Camera


def info(**fields: Any) -> Any:
    made = camera_info_message(Camera(640, 480, 1.0, 1.0, 0.0, 0.0), stamp=7, frame_id="eye")
    made.d = np.array([0.1, -0.2, 0.001, 0.002, 0.0])
    made.k = np.array([500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0])
    made.r = np.array(IDENTITY)
    made.p = np.array([450.0, 0.0, 310.0, -20.0, 0.0, 460.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    for name, value in fields.items():
        if name.startswith("roi_"):
            setattr(made.roi, name[4:], value)
        else:
            setattr(made, name, np.array(value) if isinstance(value, list) else value)
    return made


RECTIFIED = Camera(640, 480, 450.0, 460.0, 310.0, 230.0)


def test_calibration() -> None:
    calibration = calibration_from_info(info())
    assert calibration.camera == RECTIFIED
    assert calibration.raw_intrinsics == tuple(info().k)
    assert calibration.distortion == (0.1, -0.2, 0.001, 0.002, 0.0)
    assert not calibration.fisheye
    assert not calibration.is_rectified


PARTS = [
    pytest.param(
        {"roi_x_offset": 100, "roi_y_offset": 50, "roi_width": 320, "roi_height": 200},
        Camera(320, 200, 450.0, 460.0, 210.0, 180.0),
        (500.0, 220.0, 510.0, 190.0),
        id="region of interest",
    ),
    pytest.param(
        {"binning_x": 2, "binning_y": 4},
        Camera(320, 120, 225.0, 115.0, 155.0, 57.5),
        (250.0, 160.0, 127.5, 60.0),
        id="binning",
    ),
    pytest.param(
        {
            **{"roi_x_offset": 100, "roi_y_offset": 50, "roi_width": 321, "roi_height": 200},
            **{"binning_x": 2, "binning_y": 2},
        },
        Camera(160, 100, 225.0, 230.0, 105.0, 90.0),
        (250.0, 110.0, 255.0, 95.0),
        id="both",
    ),
    pytest.param(
        {"p": [0.0] * 12, "r": [0.0] * 9},
        Camera(640, 480, 500.0, 510.0, 320.0, 240.0),
        (500.0, 320.0, 510.0, 240.0),
        id="monocular without p",
    ),
]


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
@pytest.mark.parametrize(("fields", "camera", "raw"), PARTS)
def test_calibration_of_parts(
    fields: dict[str, Any], camera: Camera, raw: tuple[float, ...], model: str
) -> None:
    calibration = calibration_from_info(info(**fields, distortion_model=model, d=[0.1] * 4))
    if model == "plumb_bob" or "p" not in fields:
        assert calibration.camera == camera
    k = calibration.raw_intrinsics
    assert (k[0], k[2], k[4], k[5]) == raw
    assert calibration.rotation == IDENTITY


def test_a_region_is_the_same_part_of_the_scene() -> None:
    whole = calibration_from_info(info()).camera
    part = calibration_from_info(
        info(roi_x_offset=64, roi_y_offset=32, roi_width=128, roi_height=96)
    ).camera
    point = np.array([0.3, -0.2, 4.0])
    np.testing.assert_allclose(part.project(point) + np.array([64, 32]), whole.project(point))


def terms(count: int) -> tuple[float, ...]:
    return tuple(0.01 * (1 + index) for index in range(count))


@pytest.mark.parametrize(
    ("model", "terms", "used"),
    [
        pytest.param("plumb_bob", (), (), id="no terms"),
        pytest.param("plumb_bob", (0.0,) * 5, (), id="zeros"),
        pytest.param("plumb_bob", terms(4), terms(4), id="opencv's four"),
        pytest.param("plumb_bob", terms(2), (*terms(2), 0.0, 0.0), id="radial alone"),
        pytest.param("plumb_bob", (*terms(5), *[0.0] * 3), terms(5), id="orbbec"),
        pytest.param("plumb_bob", (*terms(5), *[0.0] * 9), terms(5), id="fourteen, five used"),
        pytest.param("plumb_bob", (0.0,) * 100, (), id="many zeros"),
        pytest.param("radtan", terms(4), terms(4), id="kalibr"),
        pytest.param("Brown Conrady", terms(5), terms(5), id="realsense"),
        pytest.param("Inverse Brown Conrady", (0.0,) * 5, (), id="inverse without terms"),
        pytest.param(" Plumb-Bob ", terms(5), terms(5), id="spelling"),
        pytest.param("rational_polynomial", (), (), id="rational without terms"),
        pytest.param("rational_polynomial", terms(5), terms(5), id="rational of five"),
        pytest.param("rational_polynomial", terms(6), (*terms(6), 0.0, 0.0), id="rational of six"),
        pytest.param("rational_polynomial", terms(8), terms(8), id="rational"),
        pytest.param("rational_polynomial", terms(12), terms(12), id="thin prism"),
        pytest.param("rational_polynomial", terms(14), terms(14), id="oak"),
        pytest.param("rational_polynomial", (*terms(14), 0.0), terms(14), id="zero behind oak's"),
        pytest.param("thin_prism", terms(12), terms(12), id="thin prism by name"),
        pytest.param("", (), (), id="nothing"),
        pytest.param("", (0.0,) * 3, (), id="zeros without model"),
        pytest.param("none", (0.0,) * 5, (), id="none"),
        pytest.param("", terms(5), terms(5), id="five without model"),
        pytest.param("", terms(8), terms(8), id="eight without model"),
    ],
)
def test_pinhole_terms(model: str, terms: tuple[float, ...], used: tuple[float, ...]) -> None:
    calibration = calibration_from_info(info(distortion_model=model, d=list(terms)))
    assert calibration.distortion == pytest.approx(used)
    assert len(calibration.distortion) == len(used)
    assert not calibration.fisheye
    # OpenCV takes them.
    assert calibration.seen.any()


@pytest.mark.parametrize(
    ("terms", "used"),
    [
        pytest.param((), (), id="no terms"),
        pytest.param(terms(4), terms(4), id="four"),
        pytest.param(terms(1), (0.01, 0.0, 0.0, 0.0), id="one"),
        pytest.param((*terms(4), 0.0), terms(4), id="t265"),
    ],
)
@pytest.mark.parametrize(
    "model", ["equidistant", "Equidistant", "fisheye", "kannala_brandt", "Kannala Brandt4"]
)
def test_fisheye_terms(model: str, terms: tuple[float, ...], used: tuple[float, ...]) -> None:
    calibration = calibration_from_info(info(distortion_model=model, d=list(terms)))
    assert calibration.fisheye
    assert calibration.distortion == pytest.approx(used)
    assert calibration.camera == RECTIFIED
    assert not calibration.is_rectified
    assert calibration.seen.any()


def test_a_fisheye_without_p_shows_90_degrees() -> None:
    whole = info(distortion_model="equidistant", d=[], p=[0.0] * 12, k=[*info().k])
    whole.k[[0, 4]] = 640 / np.pi
    calibration = calibration_from_info(whole)
    assert calibration.camera == Camera(640, 480, 320.0, 320.0, 319.5, 239.5)
    assert calibration.seen.all()
    whole.binning_x = whole.binning_y = 2
    assert calibration_from_info(whole).camera == Camera(320, 240, 160.0, 160.0, 159.75, 119.75)


REFUSED = [
    pytest.param({"k": [0.0] * 9}, "k[0]", id="not calibrated"),
    pytest.param({"k": [math.nan] * 9}, "k has", id="nan"),
    pytest.param({"k": [-5.0, *info().k[1:]]}, "k[0]", id="negative focal"),
    pytest.param({"k": [*info().k[:4], 0.0, *info().k[5:]]}, "k[4]", id="no vertical focal"),
    pytest.param({"p": [math.inf, *info().p[1:]]}, "p has", id="infinite p"),
    pytest.param({"p": [0.0, *info().p[1:]]}, "p[0]", id="no focal in p"),
    pytest.param({"r": [2.0, *IDENTITY[1:]]}, "r is no rotation", id="r"),
    pytest.param({"d": [math.nan] * 5}, "d has", id="nan terms"),
    pytest.param(
        {"d": [0.1, 0.2, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]},
        "d of 8 terms has 0.5 at 6, but distortion_model 'plumb_bob' has 5 terms",
        id="more than the model's",
    ),
    pytest.param({"d": [0.1] * 10**5}, "d of 100000 terms", id="endless terms"),
    pytest.param(
        {"distortion_model": "equidistant", "d": [0.1] * 5},
        "d of 5 terms has 0.1 at 4, but distortion_model 'equidistant' has 4 terms",
        id="more than a fisheye's",
    ),
    pytest.param(
        {"distortion_model": "rational_polynomial", "d": [0.1] * 15}, "has 14", id="fifteen"
    ),
    pytest.param({"distortion_model": "none"}, "'none' has 0 terms", id="terms of none"),
    pytest.param(
        {"distortion_model": "inverse_brown_conrady"}, "has 0 terms", id="terms of an inverse"
    ),
    pytest.param(
        {"distortion_model": "", "d": [0.1] * 6}, "d has 6 terms, which without", id="six terms"
    ),
    *(
        pytest.param(
            {"distortion_model": model, "d": [0.0] * 4},
            f"distortion_model '{model}' is not supported; known are plumb_bob, rational_poly",
            id=model,
        )
        for model in (
            *("thin_prism_fisheye", "omnidirectional", "omni", "mei", "ucm", "eucm", "ds"),
            *("double_sphere", "ftheta", "fov", "division", "pinhole_42"),
        )
    ),
    pytest.param({"distortion_model": "x" * 10**5}, "is not supported", id="endless model"),
    pytest.param({"width": 0, "height": 0}, "0x0, which is no size", id="no size"),
    pytest.param({"roi_x_offset": 600, "roi_width": 100}, "roi of", id="roi outside"),
    pytest.param({"binning_x": 1000}, "binning_x", id="binning"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_bad_calibrations_are_refused_with_the_field(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        calibration_from_info(info(**fields))
    assert text in str(caught.value)
    assert str(caught.value).startswith(caught.value.field)
    assert len(str(caught.value)) < 500


def test_the_error_for_a_refused_model_names_a_remedy() -> None:
    with pytest.raises(ConversionError, match="own node, and use its image_rect"):
        calibration_from_info(info(distortion_model="mei"))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="as it should be"),
        pytest.param({"d": [0.1] * 8}, id="too many terms"),
        pytest.param({"d": [math.nan] * 5}, id="nan terms"),
        pytest.param({"distortion_model": "equidistant"}, id="fisheye"),
        pytest.param({"distortion_model": "mei"}, id="unknown model"),
        pytest.param({"k": [0.0] * 9}, id="no k"),
        pytest.param({"k": [math.nan] * 9}, id="nan k"),
        pytest.param({"r": [2.0] * 9}, id="no rotation"),
    ],
)
def test_rectified_images_need_p_alone(fields: dict[str, Any]) -> None:
    calibration = calibration_from_info(info(**fields), rectified=True)
    assert calibration.camera == RECTIFIED
    assert calibration.is_rectified
    assert calibration.seen.all()
    try:
        expected: Calibration | None = calibration_from_info(info(**fields))
    except ConversionError:
        expected = None
    assert calibration.source == expected


@pytest.mark.parametrize(("fields", "camera", "raw"), PARTS)
def test_parts_of_rectified_images(
    fields: dict[str, Any], camera: Camera, raw: tuple[float, ...]
) -> None:
    del raw
    calibration = calibration_from_info(info(**fields), rectified=True)
    assert calibration.camera == camera
    assert calibration.is_rectified


def test_rectified_images_of_a_camera_without_distortion_have_nothing_to_tell() -> None:
    same = {"d": [], "p": [0.0] * 12}
    assert calibration_from_info(info(**same), rectified=True).source is None
    # Its rectification is unknown.
    fisheye = {"distortion_model": "equidistant", "d": [], "p": [0.0] * 12}
    assert calibration_from_info(info(**fisheye), rectified=True).source is None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"p": [math.nan, *info().p[1:]]}, "p has", id="nan p"),
        pytest.param({"p": [-1.0, *info().p[1:]]}, "p[0]", id="negative focal"),
        pytest.param({"p": [0.0] * 12, "k": [0.0] * 9}, "k[0]", id="not calibrated"),
        pytest.param({"p": [0.0] * 12, "k": [math.nan] * 9}, "k has", id="nan k"),
        pytest.param({"width": 0, "height": 0}, "0x0, which is no size", id="no size"),
        pytest.param({"roi_x_offset": 600, "roi_width": 100}, "roi of", id="roi outside"),
    ],
)
def test_rectified_images_need_p(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        calibration_from_info(info(**fields), rectified=True)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_rect", True),
        ("/camera/image_rect/compressed", True),
        ("/camera/image_rect_color/compressed", True),
        ("/camera/image_rect/theora", True),
        ("/camera/image_rect/ffmpeg", True),
        ("/camera/image_rect/compressedDepth", True),
        ("/camera/image_rect_compressed", True),
        ("/camera/infra1/image_rect_raw", True),
        ("/camera/image_rectified", True),
        ("/camera/rect", True),
        ("image_rect", True),
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/zed/zed_node/rgb/color/rect/image/compressed", True),
        ("/zed/zed_node/rgb/color/raw/image", False),
        ("/camera/image_raw", False),
        ("/camera/image_direct", False),
        ("/camera/image_corrected", False),
        ("/camera/rectangle", False),
        ("/rectified/image/compressed", False),
        ("/rect/image_raw", False),
        ("image", False),
        ("compressed", False),
        ("", False),
        ("/kitti/camera_color_left/image_raw", True),
        ("/kitti/camera_gray_right/image_raw", True),
        ("/robot/kitti/camera_gray_left/image_raw", True),
        ("kitti/camera_color_right/image_raw/compressed", True),
        ("/kitti/camera_color_left/image_raw_2", False),
        ("/kitti/camera_fisheye_left/image_raw", False),
        ("/mykitti/camera_color_left/image_raw", False),
        ("/camera_color_left/image_raw", False),
    ],
)
def test_name_of_rectified_images(topic: str, rectified: bool) -> None:
    assert named_rectified(topic) == rectified
