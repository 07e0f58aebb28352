"""Build both Python packages; name, version, description and licence come from package.xml."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse("package.xml").getroot()


def read(tag: str) -> str:
    text = manifest.findtext(tag)
    if text is None:
        raise ValueError(f"package.xml has no <{tag}>")
    return text.strip()


def ros(distribution: str) -> list[str]:
    """Return what a ROS 2 distribution is on PyPI."""
    packages = ("diagnostic-msgs", "rclpy", "rmw-fastrtps-cpp", "rosgraph-msgs", "sensor-msgs")
    return [
        # Conversions are compared with cv_bridge, which needs these bounds.
        "cv-bridge==1.13.0.post0",
        "numpy<2.3",
        "opencv-python-headless<5",
        *(f"ros-{distribution}-{package}" for package in (*packages, "std-srvs")),
    ]


name = read("name")

setup(
    name=name,
    version=read("version"),
    description=read("description"),
    license=read("license"),
    maintainer=read("maintainer"),
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(include=["depthformer_core*", "depthformer_ros*"]),
    package_data={
        "depthformer_core": ["py.typed"],
        "depthformer_core.evaluation": ["*.j2"],
        "depthformer_core.ops": ["*.cu"],
        "depthformer_core.weights": ["*.md", "*.safetensors"],
        "depthformer_ros": ["py.typed"],
    },
    python_requires=">=3.10",
    install_requires=[
        "lz4",
        "mcap>=1.1",
        "numpy",
        "opencv-python-headless",
        "packaging",
        "pillow",
        "rosbags>=0.11,<0.12",
        "ruamel.yaml",
        "safetensors",
        # timm's Swin layers are extended beneath their public interface.
        "timm>=1.0.16,<1.1",
        # Before, weights_only let code through (CVE-2025-32434).
        "torch>=2.6",
        "torchvision",
        "tqdm",
        "tyro>=0.9",
        "zstandard",
    ],
    extras_require={
        # ROS 2 itself, for machines that have none.
        "ros": ros("jazzy"),
        "ros-jazzy": ros("jazzy"),
        "ros-kilted": ros("kilted"),
        # What a robot does without: reports and pictures with text, and training.
        "report": ["jinja2", "matplotlib", "plotly>=6", "scipy"],
        "train": ["jinja2", "matplotlib", "plotly>=6", "scipy", "tensorboard"],
        # `depthformer export`; its files run by any one of the runtimes.
        "export": ["onnx>=1.17", "onnxruntime>=1.19", "onnxscript>=0.5"],
        # Runtimes of exported networks, for machines that take the lists of docs/deployment.md.
        "onnx": ["onnxruntime>=1.19"],
        "openvino": ["openvino>=2024.5"],
        # Bags evaluated on several machines.
        "dask": ["distributed"],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocstrings[python]>=0.28",
        ],
        "test": [
            "codespell>=2.3",
            "colcon-common-extensions",
            "colcon-ros",
            # Newer than those that some systems bring.
            "hypothesis>=6.100",
            "import-linter>=2",
            "mypy>=1.11",
            "onnx>=1.17",
            "onnxruntime>=1.19",
            "onnxscript>=0.5",
            "openvino>=2024.5",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            # colcon's Python support ends with setuptools 80.
            "setuptools<80",
        ],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{name}"]),
        (f"share/{name}", ["package.xml"]),
        (f"share/{name}/launch", sorted(map(str, Path("launch").glob("*.launch.py")))),
        (
            f"share/{name}/config",
            sorted(str(path) for path in Path("config").iterdir() if path.is_file()),
        ),
    ],
    # Weights are mapped into memory from their file.
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "depth_node = depthformer_ros.depth_node:main",
            "replay = depthformer_ros.replay:main",
            "depthformer = depthformer_core.cli:main",
        ],
    },
)
