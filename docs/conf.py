"""Settings of Sphinx: ``make docs`` builds the manual into ``docs/_build``."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

HERE = Path(__file__).resolve().parent

project = "perfguard"
author = "perfguard contributors"
project_copyright = "perfguard contributors"
version = release = run_path(str(HERE.parent / "perfguard" / "__init__.py"))[
    "__version__"
]

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"perfguard {release}"
html_show_sphinx = False
