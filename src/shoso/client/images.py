"""Images of the caller's → PIL's, and the names that MLflow's UI finds them by."""

from __future__ import annotations

import io
import re
import sys
import uuid
import warnings
from typing import TYPE_CHECKING, Any

from shoso.client.documents import rendered
from shoso.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL = 256
"""Pixels on the longer side of the small copy that the UI shows first."""

_KEY = re.compile(r"[a-zA-Z0-9_\-./ ]+")
_KINDS = {"b": "boolean", "i": "integer", "u": "unsigned integer", "f": "floating point"}


def encoded(image: Image, name: str) -> bytes:
    """The file that the name asks for."""
    return rendered(name, image.save)


def of_step(key: str, step: int, timestamp: int) -> str:
    """The name, less its ending, of the image `key` at a step. Raises ValueError."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(
            f"The key of an image may have letters, digits, spaces and _ - . / in it, which {key!r} breaks."
        )
    return f"images/{key.replace('/', '~')}+step+{step}+timestamp+{timestamp}+{uuid.uuid4()}"


def of_table(table: str) -> str:
    """The name, less its ending, of an image in a cell of a table."""
    return f"table_images/{table.rpartition('.')[0] or table}/{uuid.uuid4()}"


def decoded(data: bytes) -> Image:
    """The image in a file. Raises OSError, ValueError for what is none."""
    image: Image = _module().open(io.BytesIO(data))
    image.load()
    return image


def thumbnail(image: Image) -> Image:
    """A copy whose longer side has `THUMBNAIL` pixels."""
    width, height = image.size
    scale = THUMBNAIL / max(width, height)
    if width > height:
        return image.resize((THUMBNAIL, max(1, int(height * scale))))
    return image.resize((max(1, int(width * scale)), THUMBNAIL))


def pillow(image: Any) -> Image:
    """The image as PIL has it, from PIL, numpy or whatever has `to_pil`. Raises TypeError, ValueError."""
    if hasattr(image, "to_pil"):  # mlflow.Image
        image = image.to_pil()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(image, numpy.ndarray):
        made: Image = _module().fromarray(_pixels(image, numpy))
        return made
    if not isinstance(image, _module().Image):
        raise TypeError(f"An image is one of PIL's or an array of numpy's, not {type(image).__name__}.")
    shown: Image = image
    return shown


def _module() -> Any:
    try:
        import PIL.Image
    except ImportError:
        raise ConfigError("log_image", "images need Pillow: pip install pillow.") from None
    return PIL.Image


def _pixels(array: Any, numpy: Any) -> Any:
    """Height × width (× 3 or 4) of uint8."""
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"An image's numbers are {', '.join(_KINDS.values())}, not {array.dtype}.")
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {1, 3, 4}):
        raise ValueError(
            f"An image has the shape height × width, with 1, 3 or 4 channels behind, not {array.shape}."
        )
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return _bytes(flat, numpy, whole=array.dtype.kind in "iu")


def _bytes(array: Any, numpy: Any, *, whole: bool) -> Any:
    """0 to 255, from integers in that range or from 0.0 to 1.0; floats beyond are scaled to it."""
    low, high = array.min(), array.max()
    if low >= 0 and high <= (255 if whole else 1):
        return (array if whole else array * 255).astype(numpy.uint8)
    if whole:
        raise ValueError(f"Pixels that are integers go from 0 to 255, not from {low} to {high}.")
    warnings.warn(f"Pixels from {low} to {high} are scaled to 0 to 1.", stacklevel=2)
    return ((array - low) / (high - low) * 255).astype(numpy.uint8)
