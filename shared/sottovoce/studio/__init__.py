"""Everything that makes, changes or judges sound with a release."""
