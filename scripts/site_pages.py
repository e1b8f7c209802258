"""The reference pages of the docs site, made from the code when the site is built; a hook of mkdocs.

    make docs

These pages are written by nobody, so they cannot be out of date. A page or a style sheet that would fetch
something from elsewhere ends the build: the site is read without a network.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import kpig
from kpig.cli.commands import app
from kpig.config.keys import Key, Table, value_as_toml
from kpig.config.section import Section
from kpig.methods.tables import tables_of
from kpig.scoring.meanings import MEANINGS, Meaning
from kpig.sweep.spec import Setting, Spec

MORE_MODULES = ("kpig.testing", "kpig.model.objective", "kpig.scoring.records")
"""Modules that the reference shows whole, beside the names of `kpig` itself."""


FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'>\s]*"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|preconnect|icon))[^>]*href=["']?(?:https?:)?//[^"'>\s]*"""
    r"""|(?:url\(|@import)\s*["']?(?:https?:)?//[^"')\s]*"""
)
"""What a browser would fetch from elsewhere without being asked."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages to those of docs/."""
    made = {
        "reference/commands.md": commands_page(),
        "reference/config.md": config_page(),
        "reference/scores.md": scores_page(),
        "reference/api.md": api_page(),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """End the build where a file of the site would fetch something."""
    folder = Path(config.site_dir)
    for path in sorted((*folder.rglob("*.html"), *folder.rglob("*.css"))):
        if found := fetched(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(folder)} would fetch {found[0]}; the site needs no network")


def fetched(text: str) -> list[str]:
    """What a page or a style sheet would fetch from elsewhere."""
    return [match.group() for match in FETCHED.finditer(text)]


def commands_page() -> str:
    """Every command with its arguments and options, as `kpig COMMAND --help` has them."""
    root = typer.main.get_command(app)
    text = get_docs_for_click(obj=root, ctx=typer.Context(root), name="kpig", title="Commands")
    return re.sub(r"\[bold\](.*?)\[/bold\]", r"`\1`", text, flags=re.DOTALL)


def config_page() -> str:
    """Every key of the configuration, table by table."""
    parts = [
        "# Configuration",
        "What `kpig config` prints. A key that is left out has its default.",
        *(_table_part(one) for one in tables_of()),
        "## The spec of a sweep",
        "What the file of `kpig sweep` says. [Sweeps](../sweeps.md) has an example.",
        _spec_rows(Spec),
        "Each `[[settings]]` has",
        _spec_rows(Setting),
    ]
    return "\n\n".join(parts) + "\n"


def _table_part(table: Table) -> str:
    title = f"## `[{table.name}]`" if table.name else "## Above all tables"
    return f"{title}\n\n{_plain(table.meaning)}\n\n" + _rows(
        ("key", "type", "default", "meaning", "cost"), (_key_cells(key) for key in table.keys)
    )


def _spec_rows(section: type[Section]) -> str:
    """The keys of a table whose types are said by their meanings."""
    return _rows(
        ("key", "default", "meaning"),
        (
            (
                f"`{name}`",
                "must be given" if one.is_required() else _default(value_as_toml(one.default)),
                _plain(one.description or ""),
            )
            for name, one in section.model_fields.items()
        ),
    )


def _default(written: str) -> str:
    return f"`{' '.join(written.split())}`" if written else "none"


def _key_cells(key: Key) -> tuple[str, ...]:
    name = key.name.rpartition(".")[2]
    return (f"`{name}`", key.type, _default(key.written), _plain(key.meaning), _plain(key.cost))


def scores_page() -> str:
    """Every number that a table prints."""
    parts = [
        "# Scores and formulas",
        "What `kpig explain` says. M(I) is the instruction I with its key parts masked.",
        *(_score_part(key, one) for key, one in MEANINGS.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _score_part(key: str, one: Meaning) -> str:
    better = f"{one.better} is better" if one.better else "neither way is better by itself"
    source = re.sub(r"docs/([\w/-]+\.md)", r"[\1](../\1)", one.source)
    facts = (("Formula", f"`{one.formula}`"), ("Range", one.range), ("Direction", better), ("Source", source))
    listed = "\n".join(f"- **{name}**: {fact}" for name, fact in facts)
    return f"## {one.title} {{ #{key} }}\n\n{one.brief[0].upper()}{one.brief[1:]}. {one.says}\n\n{listed}"


def api_page() -> str:
    """What `kpig` hands to Python, from the docstrings where each name is at home."""
    names = [name for name in kpig.__all__ if not name.startswith("_")]
    parts = ["# Python", "What `import kpig` has. Names are loaded when they are first used."]
    parts += [f"## `kpig.{name}`\n\n::: {_home(name)}" for name in names]
    parts += [f"## `{module}`\n\n::: {module}" for module in MORE_MODULES]
    return "\n\n".join(parts) + "\n"


def _home(name: str) -> str:
    """The module and the name under which an object of `kpig` was written."""
    found = getattr(kpig, name)
    return f"{found.__module__}.{found.__qualname__}"


def _rows(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    every = [tuple(headings), *map(tuple, rows)]
    rule = "|" + " --- |" * len(every[0])
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in every]
    return "\n".join([lines[0], rule, *lines[1:]])


def _plain(words: str) -> str:
    """Words in which no character outside code is markup: a star or a bracket stands as it is."""
    pieces = re.split(r"(`[^`]*`)", words)
    return "".join(one if one.startswith("`") else re.sub(r"([*_\[\]<>])", r"\\\1", one) for one in pieces)
