"""
The operator's templates: rendered by name with a caller's data, listed, checked.

A template is up to three Jinja2 files in one folder: NAME.subject.txt, NAME.txt, NAME.html.
Files whose name begins with _ are for others to include or extend. In HTML what callers give is
escaped. A line that holds nothing but a {% block %} leaves no empty line behind.

`library` is the folder as it is in use; `folder` reads and checks it; `rendering` renders.
"""

from notifier.templates.library import Filled, Listed, Preview, Templates

__all__ = ["Filled", "Listed", "Preview", "Templates"]
