"""A label in a run: it answers each message by its policy, ledger and catalogue."""
