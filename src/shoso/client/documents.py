"""Values of the caller's → the bytes of an artifact, by the ending of its name, as MLflow writes them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from shoso.client import batches
from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import ConfigError, Kind, TrackingError

PLOTLY_IMAGES = {".png", ".jpeg", ".webp", ".svg", ".pdf"}


def place(artifact_file: str) -> Key:
    """The key of an artifact, as seen from the run; `./a` and `a//b` are taken. Raises INVALID_KEY."""
    path = PurePosixPath(artifact_file).as_posix()
    if path == ".":
        raise TrackingError(Kind.INVALID, "An artifact needs a name, e.g. 'notes/about.txt'.")
    return keys.parse(path)


def text(value: str) -> bytes:
    """UTF-8. Raises TrackingError(INVALID) for what is no text."""
    return batches.text("content of a text", value).encode()


def dictionary(value: Any, name: str) -> bytes:
    """JSON, or YAML where the name ends in .yml or .yaml. Raises ConfigError without PyYAML."""
    if ending(name) in {".yml", ".yaml"}:
        dump: str = _yaml().dump(value, indent=2, default_flow_style=False)
        return dump.encode()
    return json.dumps(value, indent=2, default=str).encode()


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "log_dict", "YAML needs PyYAML: pip install pyyaml, or end the name in .json."
        ) from None
    return yaml


def figure(value: Any, name: str, options: Mapping[str, Any]) -> bytes:
    """A figure of matplotlib's or plotly's as the file that the name asks for. Raises TypeError."""
    if _is_a(value, "matplotlib.figure", "Figure"):
        return rendered(name, lambda path: value.savefig(path, **options))
    if not _is_a(value, "plotly.basedatatypes", "BaseFigure"):
        raise TypeError(f"A figure is one of matplotlib's or plotly's, not {type(value).__name__}.")
    if ending(name) == ".html":
        shown = {"include_plotlyjs": "cdn", "auto_open": False, **options}
        return rendered(name, lambda path: value.write_html(path, **shown))
    if ending(name) in PLOTLY_IMAGES:
        return rendered(name, lambda path: value.write_image(path, **options))
    raise TypeError(f"plotly writes .html and {', '.join(sorted(PLOTLY_IMAGES))}, not '{ending(name)}'.")


def _is_a(value: object, module: str, name: str) -> bool:
    """Whether it's of that class; of a library that isn't loaded nobody has objects."""
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(value, known)


def rendered(name: str, write: Callable[[str], object]) -> bytes:
    """What a library writes to a file of that name: many know their format by its ending."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(name).name
        write(str(path))
        return path.read_bytes()


def ending(name: str) -> str:
    """The ending of a name, with its dot."""
    return PurePosixPath(name).suffix
