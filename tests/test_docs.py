"""The documentation keeps its word: names exist, commands parse, links lead somewhere, pages are up to date."""

import importlib
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
METHOD = (ROOT / "docs/method.md").read_text(encoding="utf-8")


def resolve(name):
    """The object behind a dotted name: the longest part that is a module, then attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def commands(page):
    """Words of every `dsd` command in a script, or in the code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        blocks = re.findall(r"^```sh\n(.*?)^```|((?:^    [^\n]*\n)+)", text, re.MULTILINE | re.DOTALL)
        text = "".join(fenced or indented for fenced, indented in blocks)
    for line in text.splitlines():
        for part in re.split(r"&&|;|\|", line):
            words = shlex.split(part, comments=True)
            if words and words[0].endswith("dsd") and "[OPTIONS]" not in words:
                yield words[1:]


def test_the_page_of_commands_is_what_the_commands_say():
    page = runpy.run_path(str(ROOT / "docs/make_cli.py"))["page"]()
    kept = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page == kept, "a help text has changed: run python docs/make_cli.py"


def test_every_command_is_on_the_page():
    from dsdcli.cli import app

    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f"## dsd {command.name}\n" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_code_resolve(page):
    for name in set(re.findall(r"`(dsdcli(?:\.\w+)+)`", page.read_text(encoding="utf-8"))):
        resolve(name)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "examples/quickstart.sh"], ids=lambda page: page.name)
def test_commands_parse(page):
    from dsdcli.cli import app

    group = typer.main.get_command(app)
    for name, *words in commands(page):
        group.commands[name].make_context(name, words)


def test_there_are_commands_to_parse():
    """The test above would pass on a page whose code blocks it could not find."""
    readme = [words[0] for words in commands(ROOT / "README.md")]
    assert {"ingest", "train", "generate", "evaluate", "info"} <= set(readme)
    assert readme[:1] == ["generate"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for script in re.findall(r"(?:python|bash) ((?:examples|docs|\.ci)/[\w./]+)", page.read_text(encoding="utf-8")):
        assert (ROOT / script).is_file(), script


def test_every_equation_names_its_function():
    """Between one displayed equation and the next there is the name of the code that computes it."""
    after = re.split(r"\$\$.*?\$\$", METHOD, flags=re.DOTALL)[1:]
    assert len(after) > 10
    for text in after:
        assert re.search(r"`dsdcli\.", text), text[:200]


def test_sections_that_the_code_cites_exist():
    headings = set(re.findall(r"^## (\d+)\.", METHOD, re.MULTILINE))
    for path in (ROOT / "dsdcli").rglob("*.py"):
        for number in re.findall(r"method\.md, section (\d+)", path.read_text(encoding="utf-8")):
            assert number in headings, f"{path} cites section {number}"
