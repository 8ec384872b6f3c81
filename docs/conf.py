"""The documentation site: `make docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "python_pkg"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "python_pkg"), str(ROOT / "examples")])  # of the tutorials
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ldvae  # noqa: E402

project = "ldvae"
author = copyright = "The ldvae authors"
version = release = ldvae.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "images"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"ldvae {version}"
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True

autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "py:obj"
