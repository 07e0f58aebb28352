"""Nothing here turns data into code, reaches over a network or shows unescaped text.

The rules are checked in the syntax tree, where no comment can switch them off.
"""

import ast
import re
from pathlib import Path

import pytest

# What turns data into code, by its full name.
BANNED = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "code.interact"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("shelve.open", "numpy.core.multiarray._reconstruct", "runpy.run_path", "runpy.run_module"),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("tempfile.mktemp", "jinja2.Template", "markupsafe.Markup", "cv2.FileStorage"),
}
# Modules that nothing here needs: pickle's relatives, and what reaches over a network.
BANNED_MODULES = {
    *("dill", "cloudpickle", "joblib", "pty", "telnetlib", "ftplib", "xmlrpc"),
    *("socket", "socketserver", "http", "urllib", "requests", "httpx", "aiohttp"),
}
# Calls that are harmless with one value of one argument alone.
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    # timm's own default was False before 1.0.20 or so.
    "timm.models.load_state_dict": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "jinja2.Environment": ("autoescape", True),
}
NEVER_WITH = {"shell": True}


def findings(source: str) -> list[str]:
    """Violations of the rules in a module, each with its line."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    found = []
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported = [node.module]
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        found += [
            f"line {node.lineno}: import of {name}"
            for name in imported
            if name.partition(".")[0] in BANNED_MODULES
        ]
    harmless = {
        id(base)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and finds_nothing(node)
        for base in node.bases
    }
    for node in ast.walk(tree):
        # A function that is only named may be called by another name.
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            if id(node) in harmless:
                continue
            name = full_name(node, names)
            if name in BANNED - arguments:
                found.append(f"line {node.lineno}: {name}")
        if not isinstance(node, ast.Call):
            continue
        given = {item.arg: item.value for item in node.keywords if item.arg}
        name = full_name(node.func, names)
        if name in ONLY_WITH:
            argument, value = ONLY_WITH[name]
            if not is_constant(given.get(argument), value):
                found.append(f"line {node.lineno}: {name} without {argument}={value}")
        found += [
            f"line {node.lineno}: {argument}={value}"
            for argument, value in NEVER_WITH.items()
            if argument in given and not is_constant(given[argument], not value)
        ]
    return found


def finds_nothing(node: ast.ClassDef) -> bool:
    """True where an unpickler takes every class and function from a table of its own."""
    finders = [
        statement
        for statement in node.body
        if isinstance(statement, ast.FunctionDef) and statement.name == "find_class"
    ]
    calls = [call for finder in finders for call in ast.walk(finder) if isinstance(call, ast.Call)]
    table = [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "get"
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id.isupper()
    ]
    return len(finders) == 1 and len(calls) == len(table) == 1


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Dotted name of what an expression stands for, empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (owner := full_name(node.value, names)):
        return f"{owner}.{node.attr}"
    return ""


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        pytest.param("eval(text)", "line 1: eval", id="eval"),
        pytest.param("run = exec", "line 1: exec", id="exec by another name"),
        pytest.param("import pickle as p\np.loads(b)", "line 2: pickle.loads", id="pickle"),
        pytest.param("from pickle import load\nload(f)", "line 2: pickle.load", id="from pickle"),
        pytest.param("import os\nos.system(c)", "line 2: os.system", id="shell"),
        pytest.param("run(c, shell=True)", "line 1: shell=True", id="subprocess shell"),
        pytest.param("run(c, shell=flag)", "line 1: shell=True", id="perhaps a shell"),
        pytest.param("import yaml\nyaml.load(f)", "line 2: yaml.load", id="yaml"),
        pytest.param("import torch\ntorch.load(f)", "line 2: torch.load without", id="torch"),
        pytest.param(
            "from torch import load as get\nget(f, weights_only=False)",
            "line 2: torch.load without weights_only=True",
            id="torch, explicitly",
        ),
        pytest.param(
            "from timm.models import load_state_dict\nload_state_dict(f)",
            "line 2: timm.models.load_state_dict without weights_only=True",
            id="timm",
        ),
        pytest.param(
            "import numpy as np\nnp.load(f, allow_pickle=True)",
            "line 2: numpy.load without allow_pickle=False",
            id="numpy",
        ),
        pytest.param(
            "import jinja2\njinja2.Environment()", "line 2: jinja2.Environment", id="jinja2"
        ),
        pytest.param(
            "import pickle\nclass Reader(pickle.Unpickler):\n    pass",
            "line 2: pickle.Unpickler",
            id="unpickler",
        ),
        pytest.param(
            "import pickle\nclass Reader(pickle.Unpickler):\n"
            "    def find_class(self, module, name):\n"
            "        return KNOWN.get(name) or super().find_class(module, name)",
            "line 2: pickle.Unpickler",
            id="unpickler that imports",
        ),
        pytest.param("import urllib.request", "line 1: import of urllib.request", id="network"),
    ],
)
def test_rules_find(source: str, finding: str) -> None:
    (found,) = findings(source)
    assert found.startswith(finding)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("model.eval()\nre.compile('x')\ntorch.compile(model)", id="namesakes"),
        pytest.param("import torch\ntorch.load(f, weights_only=True)", id="weights only"),
        pytest.param("import yaml\nyaml.safe_load(f)", id="safe yaml"),
        pytest.param("class Options:\n    compile: bool = False", id="a field's name"),
        pytest.param("try:\n    f()\nexcept pickle.UnpicklingError:\n    pass", id="an error"),
        pytest.param("run(['ls'], shell=False)", id="no shell"),
        pytest.param(
            "class Reader(pickle.Unpickler):\n"
            "    def find_class(self, module, name):\n        return KNOWN.get(name, Unknown)",
            id="an unpickler with a table",
        ),
        pytest.param("def f(*, compile):\n    return compile", id="an argument"),
    ],
)
def test_rules_pass(source: str) -> None:
    assert findings("import pickle, re, torch\n" + source) == []


def test_nothing_here_turns_data_into_code(repository: Path) -> None:
    files = [
        path
        for folder in ("depthformer_core", "depthformer_ros", "launch")
        for path in sorted((repository / folder).rglob("*.py"))
    ]
    assert len(files) > 100
    found = [
        f"{path.relative_to(repository)} {finding}"
        for path in files
        for finding in findings(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_no_template_shows_unescaped_text(repository: Path) -> None:
    templates = [*(repository / "depthformer_core").rglob("*.j2")]
    assert templates
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "autoescape" not in text, path
        assert not re.search(r"\|\s*safe\b", text), path
        # A page without requests reveals no reader, and loads no foreign code.
        assert 'src="http' not in text, path
    page = (repository / "depthformer_core" / "evaluation" / "page.html.j2").read_text("utf-8")
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
