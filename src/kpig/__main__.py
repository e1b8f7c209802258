"""`python -m kpig` is `kpig`."""

from kpig.cli import main

main()
