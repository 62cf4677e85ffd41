#!/usr/bin/env python3
"""Fill the generated blocks of the reference from the code: `.venv/bin/python docs/generate.py`.

A block stands between `<!-- generated: name -->` and `<!-- end -->` in a page of docs/reference; what is
around it is written by hand. `tests/test_docs.py` compares every block with the code.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from inspect import Parameter, getdoc, isfunction, signature
from pathlib import Path
from typing import Any, get_args

import click
from click.testing import CliRunner
from msgspec import NODEFAULT, Struct, inspect

import shoso
from shoso.cli import main as command_line
from shoso.cli.server import NOT_SERVED
from shoso.cli.shapes import SHAPES
from shoso.client.settings import CLIENT
from shoso.core.batches import SMALL
from shoso.core.keys import MAX_BYTES
from shoso.metadata import histories, registry_rules, rules
from shoso.metadata.dialects.options import SETTINGS as DATABASES
from shoso.metadata.paging import MAX_RESULTS
from shoso.server.app import create_app
from shoso.server.artifacts import UPLOAD_LIMIT
from shoso.server.exchange import BODY_LIMIT
from shoso.server.routes import API, API_3, OWN, Route
from shoso.settings import SERVER, server_settings
from shoso.stores import BACKENDS, Backend
from shoso.wire.faults import FAULTS, FaultReply
from shoso.wire.objects import MOST, TAR_TYPE

REFERENCE = Path(__file__).parent / "reference"
COMMAND = ".venv/bin/python docs/generate.py"

RETRIED = {408, 429, 500, 502, 503, 504}
"""The statuses that MLflow's client sends a request again for (mlflow/utils/request_utils.py)."""

WIDTH = 88

SHAPES_MODULES = "shoso.cli."

_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

SUBJECTS = (
    ("/mlflow/experiments", "Experiments"),
    ("/mlflow/runs", "Runs"),
    ("/mlflow/metrics", "Runs"),
    ("/mlflow/logged-models", "Logged models"),
    (OWN[0] + "/logged-models", "Logged models"),
    ("/mlflow/registered-models", "Model registry"),
    ("/mlflow/model-versions", "Model registry"),
    ("/model-versions", "Model registry"),
    ("/mlflow-artifacts", "Artifacts"),
    ("/mlflow/artifacts", "Artifacts of a run"),
    ("/mlflow/upload-artifact", "Artifacts of a run"),
    ("/get-artifact", "Artifacts of a run"),
    (OWN[0], "The destination as a store"),
    ("", "The server itself"),
)


def pages() -> dict[Path, str]:
    """Every page with generated blocks, as it should be."""
    texts = {path: path.read_text() for path in sorted(REFERENCE.glob("*.md"))}
    return {path: _BLOCK.sub(_filled, text) for path, text in texts.items() if _BLOCK.search(text)}


def _filled(block: re.Match[str]) -> str:
    return f"{block[1]}\n{BLOCKS[block[2]]()}\n\n{block[3]}"


# -- settings and commands --------------------------------------------------------------------------------


def settings() -> str:
    """Flag, variable, default and meaning of every setting."""
    rows = [
        (_code(setting.flag), _code(setting.variable), _default(setting.default), setting.help)
        for setting in SERVER
    ]
    return _table(("flag", "variable", "default", "what it is"), rows)


def storages() -> str:
    """The variables that each storage heeds."""
    return "\n\n".join(_storage(backend) for backend in BACKENDS)


def _storage(backend: Backend) -> str:
    title = ", ".join(f"`{scheme}:`" if scheme else "a path" for scheme in backend.schemes)
    settings = import_module(backend.module).SETTINGS
    rows = [(_code(setting.variable), _default(setting.default), setting.help) for setting in settings]
    extra = f"Installed by `pip install 'shoso[{backend.extra}]'`.\n\n" if backend.extra else ""
    return f"### {title}\n\n{extra}{_table(('variable', 'default', 'what it is'), rows)}"


def databases() -> str:
    """The variables that say how a database is connected to."""
    rows = [(_code(setting.variable), _default(setting.default), setting.help) for setting in DATABASES]
    return _table(("variable", "default", "what it is"), rows)


def client() -> str:
    """The variables that a client heeds beside those of a server it goes to."""
    rows = [(_code(setting.variable), _default(setting.default), setting.help) for setting in CLIENT]
    return _table(("variable", "default", "what it is"), rows)


def not_served() -> str:
    """MLflow's flags that are refused, and the reason that is given."""
    rows = [(_code(flag), reason) for flag, reason in NOT_SERVED.items()]
    return _table(("flag", "what Shoso says of it"), rows)


def commands() -> str:
    """The help of every command, as it is printed."""
    return "\n\n".join(_help(names) for names in command_names())


def command_names() -> list[tuple[str, ...]]:
    """Every command, as it is typed behind `shoso`; the first is `shoso` itself."""
    return [(), *_below((), command_line)]


def _below(names: tuple[str, ...], group: click.Group) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*names, name)
        if isinstance(command, click.Group):
            yield from _below((*names, name), command)


def _help(names: Sequence[str]) -> str:
    shown = CliRunner().invoke(
        command_line, [*names, "--help"], prog_name="shoso", terminal_width=WIDTH, max_content_width=WIDTH
    )
    title = " ".join(("shoso", *names))
    return f"### `{title}`\n\n```text\n{shown.output.strip()}\n```"


def results() -> str:
    """What each command prints with --json."""
    rows = [(_code(" ".join(("shoso", *names))), _result(shape)) for names, shape in SHAPES.items()]
    shapes = {
        shape
        for found in SHAPES.values()
        for shape in _elements(found)
        if shape.__module__.startswith(SHAPES_MODULES)
    }
    described: dict[str, type[Struct]] = {}
    for shape in shapes:
        _collect(shape, described)
    parts = [_described(shape, _always_there) for shape in _by_name(described)]
    return "\n\n".join((_table(("command", "what it prints"), rows), *parts))


def _always_there(shape: type[Struct], field: inspect.Field) -> str:
    unknown = any(isinstance(each, inspect.NoneType) for each in getattr(field.type, "types", ()))
    return "null where it isn't known" if unknown else "always"


def _elements(shape: Any) -> tuple[Any, ...]:
    """What a list is of, or what lines there may be; anything else is itself."""
    return get_args(shape) or (shape,)


def _result(shape: Any) -> str:
    links = [_link(element) for element in _elements(shape)]
    if len(links) > 1:
        return f"lines of JSON: {', '.join(links)}"
    return links[0] if not get_args(shape) else f"list of {links[0]}"


def _link(element: Any) -> str:
    page = "" if element.__module__.startswith(SHAPES_MODULES) else "routes.md"
    return f"[{element.__name__}]({page}#{element.__name__.lower()})"


def _default(value: Any) -> str:
    if value in ("", (), None):
        return "unset"
    return _code(str(value).lower() if isinstance(value, bool) else str(value))


# -- errors -----------------------------------------------------------------------------------------------


def errors() -> str:
    """Status and error_code of every kind of error, and whether MLflow's client tries again."""
    rows = [
        (
            f"[`{kind.value}`](../guides/troubleshooting.md#{kind.value})",
            str(fault.status),
            _code(fault.error_code),
            "tries again" if fault.status in RETRIED else "stops at once",
        )
        for kind, fault in FAULTS.items()
    ]
    return _table(("kind", "status", "`error_code`", "MLflow's client"), rows)


# -- Python -----------------------------------------------------------------------------------------------

PYTHON = (
    ("The server", "shoso.client.current"),
    ("The experiment and the run", "shoso.client.active"),
    ("Logging", "shoso.client.fluent"),
    ("What is there", "shoso.client.catalog"),
)
"""The functions of the package, by the modules that have them."""


def python() -> str:
    """Every public name of the package, with its arguments and what it does."""
    named = [(name, getattr(shoso, name)) for name in shoso.__all__]
    loaders = ((name, getattr(shoso.artifacts, name)) for name in shoso.artifacts.__all__)
    values = (getattr(shoso.entities, name) for name in shoso.entities.__all__)
    return "\n\n".join(
        [
            *(f"### {title}\n\n{_functions('shoso', _of(module, named))}" for title, module in PYTHON),
            f"### shoso.artifacts\n\n{_functions('shoso.artifacts', loaders)}",
            f"### shoso.Client\n\n{_words(shoso.Client)}\n\n{_functions('Client', _methods(shoso.Client))}",
            f"### shoso.entities\n\n{_table(('name', 'fields', 'what it is'), map(_entity, values))}",
        ]
    )


def _of(module: str, named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, item) for name, item in named if getattr(item, "__module__", "") == module)


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Its own and its bases', in the order in which they are written."""
    for owner in (base for parent in cls.__bases__ for base in reversed(parent.__mro__)):
        yield from ((name, item) for name, item in vars(owner).items() if name[0] != "_" and isfunction(item))


def _functions(prefix: str, named: Iterable[tuple[str, Any]]) -> str:
    functions = {name: item for name, item in named if isfunction(item)}
    return "\n".join(
        f"- `{prefix}.{name}({_arguments(item)})`: {_words(item)}" for name, item in functions.items()
    )


def _arguments(function: Callable[..., Any]) -> str:
    """As they are called, without types."""
    parameters = [
        each.replace(annotation=Parameter.empty)
        for each in signature(function).parameters.values()
        if each.name != "self"
    ]
    shown = str(signature(function).replace(parameters=parameters, return_annotation=Parameter.empty))[1:-1]
    return re.sub(r"<(\w+\.\w+): \d+>", r"\1", shown)


def _words(item: Any) -> str:
    return re.sub(r"\s+", " ", getdoc(item) or "")


def _entity(cls: type) -> tuple[str, str, str]:
    named = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    fields = named or [*getattr(cls, "__members__", ("token",))]
    return _code(cls.__name__), ", ".join(map(_code, fields)), _words(cls)


# -- routes -----------------------------------------------------------------------------------------------


def all_routes() -> tuple[Route, ...]:
    """The routes of a server with everything switched on."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "backend_store_uri": f"sqlite:///{folder}/db",
            "artifacts_destination": f"{folder}/artifacts",
        }
        app = create_app(server_settings(flags, {}))
        asyncio.run(app.services.close())
        return app.router.routes


def routes() -> str:
    """The calls, by subject and by the roots they are found below."""
    calls: dict[str, dict[tuple[str, ...], list[Sequence[str]]]] = {}
    for (method, path, summary, request, reply, media), roots in _by_call(all_routes()).items():
        sent = _shape(request, "bytes" if method in {"POST", "PUT"} else "–")
        row = (
            f"`{method}` {_code(_shown(path))}",
            summary,
            sent,
            _shape(reply, "bytes" if method == "GET" or media == TAR_TYPE else "–"),
        )
        calls.setdefault(_subject(roots[0], path), {}).setdefault(tuple(roots), []).append(row)
    titles = dict.fromkeys(title for _, title in SUBJECTS)
    return "\n\n".join(_section(title, calls[title]) for title in titles if title in calls)


def limits() -> str:
    """How much of each thing is taken."""
    cut = "[cut off](settings.md#long-values)"
    rows = [
        ("characters in the key of a metric, a param or a tag", rules.KEY_MAX),
        (
            f"characters in the value of a param; more are {cut}",
            rules.PARAM_VALUE_MAX,
        ),
        (
            f"characters in the value of a run's tag; more are {cut}",
            rules.TAG_VALUE_MAX,
        ),
        ("characters in the value of an experiment's tag", rules.EXPERIMENT_TAG_VALUE_MAX),
        ("characters in the name of an experiment", rules.EXPERIMENT_NAME_MAX),
        ("characters in an artifact location", rules.LOCATION_MAX),
        ("characters in the name of a registered model", registry_rules.NAME_MAX),
        ("characters in the value of a tag of a registered model or a version", registry_rules.TAG_VALUE_MAX),
        ("characters in an alias", registry_rules.ALIAS_MAX),
        ("metrics in a batch", rules.BATCH_METRICS_MAX),
        ("params in a batch", rules.BATCH_PARAMS_MAX),
        ("tags in a batch", rules.BATCH_TAGS_MAX),
        ("metrics, params and tags in a batch, together", rules.BATCH_MAX),
        ("results on a page", MAX_RESULTS),
        ("runs in a bulk history", histories.RUNS_MAX),
        ("points in a bulk history", histories.POINTS_MAX),
        ("points of each run in a bulk history by interval", histories.SAMPLED_MAX),
        ("bytes in the path of an artifact, as UTF-8", MAX_BYTES),
        ("files in the tar of a `POST` to `objects`, keys of a `read`", MOST),
        ("bytes of an object that is fetched by a `read`", SMALL),
        ("bytes in an upload through `upload-artifact`", UPLOAD_LIMIT),
        ("bytes in the body of a JSON call", BODY_LIMIT),
    ]
    return _table(("what", "at most"), [(what, f"{limit:,}") for what, limit in rows])


Call = tuple[str, str, str, type | None, type | None, str]


def _by_call(found: Iterable[Route]) -> dict[Call, list[str]]:
    calls: dict[Call, list[str]] = {}
    for route in found:
        root = next((root for root in (*API, *API_3, *OWN) if route.path.startswith(root + "/")), "")
        path = route.path.removeprefix(root)
        call = (route.method, path, route.summary, route.request, route.reply, route.media)
        calls.setdefault(call, []).append(root)
    return calls


def _subject(root: str, path: str) -> str:
    whole = root + path if root in OWN else path
    return next(title for start, title in SUBJECTS if whole.startswith(start))


def _section(title: str, by_roots: dict[tuple[str, ...], list[Sequence[str]]]) -> str:
    parts = [f"### {title}"]
    for roots, rows in by_roots.items():
        where = "Below " + " and ".join(map(_code, roots)) if any(roots) else "At the root"
        parts += [f"{where}:", _table(("call", "what it does", "request", "reply"), rows)]
    return "\n\n".join(parts)


def _shown(path: str) -> str:
    return path.replace(":path}", "}")


def _shape(shape: type | None, otherwise: str = "") -> str:
    return otherwise if shape is None else f"[{shape.__name__}](#{shape.__name__.lower()})"


def requests() -> str:
    """The fields of every request."""
    return "\n\n".join(_described(shape, _when_absent) for shape in _shapes()[0])


def replies() -> str:
    """The fields of every reply, and of what is in them, that no request has."""
    return "\n\n".join(_described(shape, _when_there) for shape in _shapes()[1])


def _shapes() -> tuple[list[type[Struct]], list[type[Struct]]]:
    """The structs of the requests, then those of the replies alone, by name."""
    found = all_routes()
    asked: dict[str, type[Struct]] = {}
    answered: dict[str, type[Struct]] = {}
    for route in found:
        _collect(route.request, asked)
        _collect(route.reply, answered)
    _collect(FaultReply, answered)
    only = {name: shape for name, shape in answered.items() if name not in asked}
    return _by_name(asked), _by_name(only)


def _by_name(named: dict[str, type[Struct]]) -> list[type[Struct]]:
    return [named[name] for name in sorted(named)]


def _collect(shape: Any, named: dict[str, type[Struct]]) -> None:
    """Note the struct and the structs in its fields."""
    if shape is None or shape.__name__ in named:
        return
    named[shape.__name__] = shape
    for field in inspect.type_info(shape).fields:
        for inner in _structs(field.type):
            _collect(inner.cls, named)


def _structs(found: Any) -> Iterator[Any]:
    if isinstance(found, inspect.StructType):
        yield found
    for name in ("type", "item_type", "value_type"):
        if (inner := getattr(found, name, None)) is not None:
            yield from _structs(inner)
    for inner in getattr(found, "types", ()):
        yield from _structs(inner)


def _described(shape: type[Struct], presence: Callable[[type[Struct], inspect.Field], str]) -> str:
    fields = inspect.type_info(shape).fields  # type: ignore[attr-defined]
    rows = [(_code(field.encode_name), _type(field.type), presence(shape, field)) for field in fields]
    third = "if it is left out" if presence is _when_absent else "there"
    text = _table(("field", "type", third), rows) if rows else "No fields."
    return "\n\n".join(part for part in (f"### {shape.__name__}", _first_line(shape), text) if part)


def _first_line(shape: type[Struct]) -> str:
    """The docstring's first paragraph; msgspec gives none of its own."""
    return re.sub(r"\s+", " ", (shape.__dict__.get("__doc__") or "").strip().partition("\n\n")[0])


def _when_absent(shape: type[Struct], field: inspect.Field) -> str:
    if field.required:
        return "refused"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if value in (None, "", [], ()):
        return "empty"
    return _code(str(value).lower() if isinstance(value, bool) else str(value))


def _when_there(shape: type[Struct], field: inspect.Field) -> str:
    always = field.required or not shape.__struct_config__.omit_defaults
    return "always" if always else "when set"


_SCALARS = {inspect.IntType: "integer", inspect.FloatType: "number", inspect.BoolType: "true or false"}


def _type(found: Any) -> str:
    match found:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return (extra or {}).get("description") or _type(inner)
        case inspect.StrType(min_length=least):
            return "text, not empty" if least else "text"
        case inspect.IntType() | inspect.FloatType() | inspect.BoolType():
            return _SCALARS[type(found)]
        case inspect.LiteralType(values=values):
            return " or ".join(_code(str(value)) for value in values)
        case inspect.StructType(cls=shape):
            return _shape(shape)
        case inspect.UnionType(types=types):
            return " or ".join(_type(inner) for inner in types if not isinstance(inner, inspect.NoneType))
        case inspect.DictType(value_type=inner):
            return f"map of {_type(inner)}"
        case inspect.CollectionType(item_type=inner):
            return f"list of {_type(inner)}"
    raise NotImplementedError(f"docs/generate.py has no words for the type {found}")


# -- Markdown ---------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "storages": storages,
    "databases": databases,
    "client": client,
    "not_served": not_served,
    "commands": commands,
    "results": results,
    "errors": errors,
    "python": python,
    "routes": routes,
    "limits": limits,
    "requests": requests,
    "replies": replies,
}


def main() -> None:
    """Write the pages that aren't current, and say which."""
    for path, text in pages().items():
        if path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main()
