"""The commands of `sottovoce label`, one module a command or two; `app` declares them."""
