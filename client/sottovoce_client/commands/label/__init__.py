"""Commands of `sottovoce label`, one or two per module; `app` declares them."""
