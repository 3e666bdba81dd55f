"""The documentation: its commands and code run as they stand, its links lead somewhere, its generated pages are up to date."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cdn.settings import read_settings, settings_page
from tests.command import ONE_THREAD, fillplan

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run_shell(text: str, folder: Path) -> None:
    """Run a block line by line: ``fillplan`` in this process, anything else by the shell. Here-documents stay in one piece."""
    for command in re.findall(
        r"^.*<<'END'\n.*?^END$|^.+$", text, re.MULTILINE | re.DOTALL if "<<'END'" in text else re.MULTILINE
    ):
        for line in [command] if "<<'END'" in command else command.splitlines():
            plain = line.split("  #")[0].strip()
            if plain.startswith("fillplan ") and ">" not in plain:
                ran = fillplan(plain.removeprefix("fillplan "), cwd=folder)
                assert ran.status == 0, (plain, ran.err)
                assert ran.out.strip(), plain
            else:
                run_outside(line, folder)


def run_outside(line: str, folder: Path) -> None:
    script = f'fillplan() {{ "{sys.executable}" -c "from cdn.cli import main; main()" "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n{line}'
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, (line, done.stderr)


@pytest.fixture(scope="module")
def evening(tmp_path_factory):
    """A folder after the README's first evening by hand."""
    folder = tmp_path_factory.mktemp("docs")
    (by_hand,) = (b for b in blocks(ROOT / "README.md", "sh") if "fillplan new" in b)
    run_shell(by_hand, folder)
    return folder


def test_the_readmes_first_evening_runs(evening):
    assert (evening / "report.html").stat().st_size > 100_000
    assert (evening / "plan/manifests").is_dir() and (evening / "demand.parquet").is_file()


def test_the_guide_runs_from_top_to_bottom(evening, monkeypatch, capsys):
    guide = ROOT / "docs/guide.md"
    assert len(blocks(guide, "sh")) >= 8
    for block in blocks(guide, "sh"):
        run_shell(block, evening)
    (code,) = blocks(guide, "python")
    monkeypatch.chdir(evening)
    exec(compile(code, str(guide), "exec"), {})
    assert "price of storage" in capsys.readouterr().out


def test_settings_in_the_documentation_are_settings(tmp_path):
    """Every TOML block that is not a scenario is a sound ``fillplan.toml``."""
    found = [b for page in PAGES for b in blocks(page, "toml") if "[[scenario" not in b]
    assert found
    for text in found:
        (tmp_path / "fillplan.toml").write_text(text)
        read_settings(tmp_path)


def test_the_settings_page_is_up_to_date():
    how = "write it anew: python -c 'from cdn.settings import settings_page; print(settings_page(), end=\"\")' > docs/settings.md"
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings_page(), how


def test_every_link_leads_somewhere():
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not missing, missing


def test_every_page_of_the_documentation_can_be_found():
    """From the README, in one step or two."""
    named = " ".join(page.read_text("utf-8") for page in PAGES)
    assert not [page.name for page in (ROOT / "docs").rglob("*.md") if page.name not in named]


def test_every_verb_is_in_the_readme_or_the_guide():
    from cdn.cli.verbs import app

    text = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs/guide.md").read_text("utf-8")
    verbs = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert len(verbs) >= 11
    assert not [verb for verb in verbs if f"fillplan {verb}" not in text]
