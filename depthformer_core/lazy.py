"""Packages with lazy imports.

PyTorch takes seconds to import, which the help of a command should not.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_imports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: Name of the package.
        modules: The module within it that each name is of.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get, lambda: sorted(modules)
