"""ldvae: loadings of every cell population from one linearly decoded variational autoencoder."""

from importlib.metadata import version

from .api import *  # noqa: F403
from .api import __all__ as _public

__version__ = version("ldvae")
__all__ = ["__version__", *_public]
