"""Settings of the documentation: Sphinx with Markdown pages."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for live.py

project = "rasterloom"
author = "The rasterloom founders"
copyright = author
version = release = installed_version("rasterloom")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "live"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "rasterloom"
html_static_path: list[str] = []

autodoc_default_options = {"members": True, "inherited-members": "Module,object", "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
