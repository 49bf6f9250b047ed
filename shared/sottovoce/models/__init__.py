"""Tasks and families: what is measured, and what is trained."""
