"""What the site (mkdocs.yml) needs besides docs/: pages that lie elsewhere, and mathematics without a script."""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}  # path in the repository: in the site
OUTSIDE |= {f"models/{card.parent.name}/README.md": f"models/{card.parent.name}.md" for card in ROOT.glob("models/*/*")}
SOURCE = {target: source for source, target in OUTSIDE.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The cards of the models and the pages at the top of the repository join those of docs/."""
    for source, target in OUTSIDE.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links that are right in the repository are made right in the site, and names of code lead to the reference."""
    here = page.file.src_uri
    folder = posixpath.dirname(SOURCE.get(here, f"docs/{here}"))

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[1]))
        target = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        return found[0] if target is None else f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}"

    markdown = re.sub(r"\]\(([\w./-]+\.\w+)", link, markdown)
    return re.sub(r"(?<!\[)`(dsdcli(?:\.\w+)+)`", r'<autoref identifier="\1" optional>`\1`</autoref>', markdown)


def on_page_content(content: str, **_: object) -> str:
    """LaTeX, as the extension arithmatex has marked it, becomes MathML."""

    def mathml(found: re.Match[str]) -> str:
        return convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")

    return re.sub(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', mathml, content, flags=re.DOTALL)
