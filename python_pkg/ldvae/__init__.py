"""ldvae: loadings of every cell population from one linearly decoded variational autoencoder."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    from .api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Public names, imported with all that they need when the first is asked for: `ldvae --help` needs none."""
    if name != "__all__" and name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec(f"{__name__}.{name}") is not None:
        return import_module(f".{name}", __name__)
    public = import_module(".api", __name__)
    if name == "__all__":
        return ["__version__", *public.__all__]
    if name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    return list(__getattr__("__all__"))
