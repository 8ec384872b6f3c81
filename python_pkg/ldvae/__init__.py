"""ldvae: loadings of every cell population from one linearly decoded variational autoencoder."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    from .api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Public names, imported with all that they need when the first is asked for: `ldvae --help` needs none."""
    if name != "__all__" and (name.startswith("_") or name in ("api", "bridge", "commands")):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")  # a module that is about to be imported
    public = import_module(".api", __name__)
    if name == "__all__":
        return ["__version__", *public.__all__]
    if name in public.__all__:
        return getattr(public, name)
    if name in globals():  # a part of the package, which is there now
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__getattr__("__all__"))
