"""The commands of `sottovoce` that need neither side: modules here import only light things at their top."""
