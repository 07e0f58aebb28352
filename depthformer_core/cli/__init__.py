"""The command `depthformer`: one module for each of its commands, imported when it is called."""

import argparse
import importlib
import importlib.metadata
import io
import sys
from collections.abc import Mapping, Sequence

from depthformer_core.errors import DepthFormerError
from depthformer_core.pytorch import INSTALL, missing_library
from depthformer_core.signals import Signals

_COMMANDS = {
    "predict": "Estimate the depth of images.",
    "train": "Train a network, by the release's recipes or your own.",
    "evaluate": "Compare a network's depth with the truth of a data set.",
    "replay": "Compare a network's depth, or the running node's, with the truth in a bag.",
    "calibrate": "Find the correction that a network's metres need on your camera.",
    "export": "Write a network as an ONNX file that runs without PyTorch.",
    "convert": "Turn a checkpoint of the official release into a safetensors file.",
    "kitti-bag": "Turn a drive of KITTI's raw data into a bag.",
    "synthesize": "Write a drive through generated streets, as a bag or a tree like KITTI's.",
    "synthesize-frames": "Render generated streets once, as pairs of image and depth.",
    "benchmark": "Measure speed and memory of networks.",
    "benchmark-training": "Measure speed and memory of training.",
    "demo": "Play a street through the running node, and leave pictures and a report.",
    "doctor": "Find out why a robot shows no depth, and what to do.",
}

# Libraries that a robot does without.
_OPTIONAL = {
    **dict.fromkeys(("jinja2", "matplotlib", "plotly", "scipy", "tensorboard"), "report"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript", "openvino"), "export"),
}
_TRACEBACK = "--traceback"


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; an error is one line and exit code 1, an interruption one line and 130.

    Args:
        args: Arguments of the command line; None for the process's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what a terminal cannot show, which is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if args is None else args)
    traceback = _TRACEBACK in arguments
    arguments = [argument for argument in arguments if argument != _TRACEBACK]
    # What follows the command is the command's own.
    name = _parser().parse_args(arguments[:1]).command
    kind = "".join(word.capitalize() for word in name.split("-")) + "Options"
    try:
        with Signals():
            import tyro

            module = importlib.import_module(f"{__name__}.{_identifier(name)}")
        arguments = _rename(arguments[1:], getattr(module, "RENAMED", {}))
        if hasattr(module, "parse"):
            options = module.parse(arguments)
        else:
            options = tyro.cli(getattr(module, kind), prog=f"depthformer {name}", args=arguments)
        getattr(module, _identifier(name))(options)
    except (DepthFormerError, OSError) as error:
        if traceback:
            raise
        sys.exit(f"depthformer: {error}")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        extra = "train" if "train" in name else _OPTIONAL.get(library, "report")
        install = f"pip install 'depthformer_ros[{extra}]'"
        if missing_library(error):
            install = INSTALL
        elif library not in _OPTIONAL:
            raise
        if traceback:
            raise
        sys.exit(
            f"depthformer: {name} needs {library}, which cannot be imported ({error}): {install}"
        )
    except KeyboardInterrupt:
        print("depthformer: interrupted", file=sys.stderr)
        sys.exit(130)


def _rename(arguments: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Replace options that have another name now, with a warning for each."""
    current = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in renamed:
            print(f"depthformer: {option} is called {renamed[option]} now", file=sys.stderr)
            option = renamed[option]
        current.append(f"{option}{equals}{value}")
    return current


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="depthformer",
        description="Metric depth from one camera image, by DepthFormer.",
        epilog="depthformer COMMAND --help explains a command's options.",
    )
    parser.add_argument(_TRACEBACK, action="store_true", help="show where in the code an error is")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for, since a source tree may have none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"depthformer_ros {importlib.metadata.version('depthformer_ros')}")
        parser.exit()


def _identifier(name: str) -> str:
    return name.replace("-", "_")
