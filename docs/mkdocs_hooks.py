"""Hooks of MkDocs: pages from outside `docs/`, and links that also work on the site."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parent.parent
# Sources in the repository by their pages on the site.
_PAGES = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "QUALITY_DECLARATION.md": "QUALITY_DECLARATION.md",
    "depthformer_core/weights/small.md": "depthformer_core/weights/small.md",
    "depthformer_core/weights/small_kitti.md": "depthformer_core/weights/small_kitti.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside `docs/`."""
    for page, source in _PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each link at the site; a link to a file that is no page becomes plain text."""
    del config
    name = page.file.src_uri
    folder = posixpath.dirname(_PAGES.get(name, f"docs/{name}"))
    pages = {source: target for target, source in _PAGES.items()}

    def rewrite(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], _LINK.sub(rewrite, link[2]), link[3], link[4] or ""
        if not target or "://" in target:
            return link[0]
        source = posixpath.normpath(posixpath.join(folder, target))
        found = pages.get(source, source.removeprefix("docs/"))
        if files.get_file_from_path(found) is None:
            if not (_ROOT / source).exists():
                return link[0]  # MkDocs warns
            return text
        return (
            f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(name) or '.')}{anchor})"
        )

    return _LINK.sub(rewrite, markdown)
