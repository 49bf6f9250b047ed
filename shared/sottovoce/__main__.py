"""`python -m sottovoce` is the program `sottovoce`."""

from sottovoce.cli import main

main()
