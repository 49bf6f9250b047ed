"""The commands of `sottovoce simulate` and `sottovoce synthesise`."""
