"""How ``pytest --nbval`` runs the notebooks: the ``.ipynb`` are the tests, their sources are not."""

import os

from notebooks.execute import SURROUNDINGS

os.environ |= SURROUNDINGS
collect_ignore_glob = ["*.py"]
