"""ldvae: loadings of every cell population from one linearly decoded variational autoencoder."""

from .api import *  # noqa: F403
from .api import __all__ as _public
from .version import VERSION as __version__

__all__ = ["__version__", *_public]
