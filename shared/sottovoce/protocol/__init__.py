"""Masked rounds: the only form in which an update leaves a label.

Sans-I/O: frozen messages in, frozen messages out; bytes only in `messages`. Read in this order: `states` (which message
may follow which), `messages` (their content), `participant` and `aggregator` (the two roles), then their parts.
`docs/protocol.md` specifies everything to the byte.
"""
