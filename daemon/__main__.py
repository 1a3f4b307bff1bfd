"""`python -m daemon` is `placemat`."""

from daemon.cli import main

main()
