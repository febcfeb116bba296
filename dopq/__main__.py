"""`python -m dopq`: the same as the command `dopq`."""

from dopq.cli import main

main()
