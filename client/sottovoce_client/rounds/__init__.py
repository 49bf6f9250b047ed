"""A label in a run: answers each message according to its policy, ledger and catalogue."""
