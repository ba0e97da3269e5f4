"""``python -m ftlab`` is ``ftlab``."""

from ftlab.cli import main

main()
