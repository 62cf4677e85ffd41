"""The documentation says what the code does: tables are current, links lead somewhere, snippets run.

Snippets run as a reader would run them: pasted in order into one Python, in an empty folder, against a real
server. What a page shows behind a snippet is what the snippet prints; `…` there stands for any text.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.e2e.servers import Server

from shoso import stores
from shoso.cli import main
from shoso.cli.server import NOT_SERVED
from shoso.client.settings import CLIENT
from shoso.errors import Kind
from shoso.metadata.dialects import options as databases
from shoso.settings import SERVER

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REFERENCE = ROOT / "docs" / "reference"
README, JAPANESE = ROOT / "README.md", ROOT / "README.ja.md"
TUTORIALS = sorted(ROOT.glob("docs/tutorial/*.md"))
ADDRESS = "http://127.0.0.1:5000"

QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

PASTE = """
import json, sys
names = {"__name__": "__main__"}
for block in json.load(sys.stdin):
    exec(compile(block, "snippet", "exec"), names)
    print("\\0", flush=True)
"""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_FLAG = re.compile(r"--[a-z][a-z-]+")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def every_page(test):
    return pytest.mark.parametrize("page", PAGES, ids=named)(test)


def fences(text: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    return [(match[1], match[2]) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    return _COMMENT.sub("", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make, by GitHub's rule."""
    found: Counter[str] = Counter()
    made = set()
    for _, title in _HEADING.findall(prose(text)):
        slug = re.sub(r"[^\w\- ]", "", _LINK.sub(r"\1", title).lower()).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return made


def links(page: Path) -> list[tuple[str, Path, str]]:
    """Text, file and anchor of every link that leaves for a file of this repository."""
    found = []
    for text, target in _LINK.findall(prose(page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            found.append((text, (page.parent / path).resolve() if path else page, anchor))
    return found


# -- the reference ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generate():
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(generate):
    behind = [named(path) for path, text in generate.pages().items() if path.read_text() != text]
    assert not behind, f"{', '.join(behind)}: not current any more. Run: {generate.COMMAND}"


def test_every_block_stands_in_a_page(generate):
    text = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    assert [name for name in generate.BLOCKS if text.count(f"<!-- generated: {name} -->\n") != 1] == []


def test_every_setting_is_in_the_reference():
    text = (REFERENCE / "settings.md").read_text()
    assert [one.field for one in SERVER if f"`{one.flag}` | `{one.variable}`" not in text] == []


def test_every_command_is_in_the_reference(generate):
    text = (REFERENCE / "cli.md").read_text()
    names = [" ".join(("shoso", *name)) for name in generate.command_names()]
    assert [name for name in names if f"### `{name}`\n" not in text] == []


def test_every_route_is_in_the_reference(generate):
    text = (REFERENCE / "routes.md").read_text()
    routes = generate.all_routes()
    paths = {route.path.replace(":path}", "}") for route in routes}
    assert len(routes) > 80
    assert [path for path in paths if not any(f"`{path[cut:]}`" in text for cut in _cuts(path))] == []


def _cuts(path: str) -> list[int]:
    return [match.start() for match in re.finditer("/", path)]


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_every_kind_of_error_is_in_the_reference_and_explained(kind):
    assert f"`{kind.value}`" in (REFERENCE / "errors.md").read_text()
    assert kind.value in anchors((ROOT / "docs" / "guides" / "troubleshooting.md").read_text())


# -- pages ------------------------------------------------------------------------------------------------


@every_page
def test_every_link_leads_somewhere(page):
    for text, target, anchor in links(page):
        assert target.exists(), f"[{text}] leads to {target}, which isn't there"
        if anchor:
            assert anchor in anchors(target.read_text()), f"[{text}]: {named(target)} has no #{anchor}"


@every_page
def test_every_test_that_is_named_is_there(page):
    for text, target, _ in links(page):
        if name := re.fullmatch(r"`(test_\w+)`", text):
            assert name[1] in defined_in(target), f"{named(target)} has no {name[1]}; {whereabouts(name[1])}"


def defined_in(path: Path) -> list[str]:
    return re.findall(r"def (test_\w+)\(", path.read_text())


def whereabouts(name: str) -> str:
    found = [named(path) for path in ROOT.glob("tests/**/test_*.py") if name in defined_in(path)]
    return f"it is in {', '.join(found)}" if found else "no file has"


@every_page
def test_every_command_line_is_one(page):
    """`shoso` takes what shell blocks and unit files say."""
    for arguments in command_lines(page.read_text()):
        parse(main, "shoso", arguments)


def parse(
    command: click.Command, name: str, arguments: list[str], parent: click.Context | None = None
) -> None:
    """Raise UsageError unless the command, or one below it, takes these arguments.

    A command remembers the flags of its help from its first context: without a parent it would forget -h.
    """
    context = command.make_context(name, arguments, parent)
    if isinstance(command, click.Group):
        more = [*context._protected_args, *context.args]
        if command.invoke_without_command and not more:
            return
        name, inner, rest = command.resolve_command(context, more)
        parse(inner, name, rest, context)


def test_an_unknown_command_line_is_refused():
    for wrong in (["frobnicate"], ["runs", "frobnicate"], ["runs", "list", "--frobnicate"]):
        with pytest.raises(click.UsageError):
            parse(main, "shoso", wrong)


def command_lines(text: str) -> list[list[str]]:
    """What follows `shoso`, wherever a page starts a command of it."""
    found = []
    for language, block in fences(text):
        if language not in {"sh", "ini"}:
            continue
        for line in re.split(r"\n|&&|\|", block.replace("\\\n", " ").replace("ExecStart=", "")):
            words = shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if len(words) > 1 and Path(words[0]).name == "shoso":
                found.append(words[1:])
    return found


def test_command_lines_are_found():
    text = (
        "```sh\ncd shoso && X=1 .venv/bin/shoso server --port \\\n  1 # here\n```\n```text\nshoso no\n```\n"
    )
    assert command_lines(text) == [["server", "--port", "1"]]


@every_page
def test_every_flag_and_variable_that_is_named_is_there(page):
    if page.name == "benchmarks.md" or page.parent.name == "decisions":
        return  # these name flags of other programs
    variables = {setting.variable for setting in (*SERVER, *CLIENT, *stores.settings(), *databases.SETTINGS)}
    known = {setting.flag for setting in SERVER} | set(NOT_SERVED) | {"--help"} | {*flags(main)}
    for code in _CODE.findall(prose(page.read_text())):
        if code.startswith("--"):
            flag = _FLAG.match(code)[0]
            assert flag in known or flag.replace("--no-", "--") in known, f"no setting has the flag {code}"
        if code.startswith("SHOSO_"):
            assert code in variables, f"no setting has the variable {code}"


def flags(group: click.Group) -> Iterator[str]:
    """Every flag of the group and of the commands in it."""
    context = click.Context(group)
    for command in (group, *(group.get_command(context, name) for name in group.list_commands(context))):
        for option in command.params:
            yield from (*option.opts, *option.secondary_opts)
        if command is not group and isinstance(command, click.Group):
            yield from flags(command)


# -- the README in two languages --------------------------------------------------------------------------


def tables(text: str) -> list[tuple[int, ...]]:
    """The number of cells in each line of each table."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE)
    return [tuple(line.count("|") for line in table.splitlines()) for table in found]


def sections(text: str) -> list[Counter[str]]:
    """The figures of each section."""
    return [Counter(_FIGURE.findall(part)) for part in re.split(r"^#+ ", prose(text), flags=re.MULTILINE)]


def test_the_readmes_have_the_same_headings():
    levels = [[len(marks) for marks, _ in _HEADING.findall(prose(p.read_text()))] for p in (README, JAPANESE)]
    assert levels[0] == levels[1]


def test_the_readmes_have_the_same_code():
    assert fences(README.read_text()) == fences(JAPANESE.read_text())


def test_the_readmes_have_the_same_tables():
    assert tables(README.read_text()) == tables(JAPANESE.read_text())


def test_the_readmes_have_the_same_marks():
    assert _COMMENT.findall(README.read_text()) == _COMMENT.findall(JAPANESE.read_text())


def test_the_readmes_have_the_same_links():
    ours, theirs = ([link[1:] for link in links(page)] for page in (README, JAPANESE))
    assert Counter(ours) - Counter([(JAPANESE, "")]) == Counter(theirs) - Counter([(README, "")])


def test_the_readmes_have_the_same_figures():
    """Every figure is in the same section of the other; Japanese writes words like "four" as figures too."""
    pairs = zip(sections(README.read_text()), sections(JAPANESE.read_text()), strict=True)
    assert [ours - theirs for ours, theirs in pairs if ours - theirs] == []


# -- snippets ---------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path_factory):
    """A server of the page's own: it shows the numbers of experiments."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


def paste(page: Path, uri: str, folder: Path) -> list[str]:
    """Run a page's Python as one session; what each snippet printed."""
    blocks = [block.replace(ADDRESS, uri) for kind, block in fences(page.read_text()) if kind == "python"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", PASTE],
        input=json.dumps(blocks),
        cwd=folder,
        env=environment | QUIET,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(uri, ADDRESS).split("\0\n")[:-1]


def shown(page: Path) -> list[str | None]:
    """What the page shows behind each Python snippet, if anything."""
    blocks = [*fences(page.read_text()), ("", "")]
    return [
        after if kind == "text" else None
        for (language, _), (kind, after) in itertools.pairwise(blocks)
        if language == "python"
    ]


def agrees(pattern: str, printed: str) -> bool:
    parts = (re.escape(part.strip()) for part in pattern.split("…"))
    return re.fullmatch(r"\s*.*\s*".join(parts), printed.strip()) is not None


@pytest.mark.parametrize("page", [README, *TUTORIALS], ids=named)
def test_the_snippets_do_what_the_page_says(page, server, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.bin").write_bytes(bytes(1000))
    printed = paste(page, server.uri, tmp_path)
    for expected, actual in zip(shown(page), printed, strict=True):
        assert expected is None or agrees(expected, actual), f"shown:\n{expected}\nprinted:\n{actual}"
