"""Commands `sottovoce simulate` and `sottovoce synthesise`."""
