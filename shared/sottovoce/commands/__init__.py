"""Commands of `sottovoce` that belong to neither side. At the top, modules here import only what loads fast."""
