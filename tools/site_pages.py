"""Pages of the documentation site that are kept at the top of the repository: a hook of MkDocs.

GitHub shows README.md, CONTRIBUTING.md and CHANGELOG.md there; the site needs them among the other pages,
with links relative to `docs/`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File at the top of the repository to page of the site."""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (MkDocs calls this once it has listed `docs/`)."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text)))
    return files


def relinked(text: str) -> str:
    """Markdown of a file at the top of the repository, with links as a file in `docs/` has them."""
    return LINK.sub(lambda m: "](" + PAGES.get(m[1], m[1].removeprefix("docs/")), text)
