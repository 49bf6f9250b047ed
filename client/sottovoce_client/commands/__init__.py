"""What `sottovoce label …` does, one module a command or two; `sottovoce_client.label_cli` declares them."""
