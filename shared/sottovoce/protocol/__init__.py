"""Masked rounds: the only form in which an update leaves a label.

Sans-I/O: frozen messages in, frozen messages out; bytes only in `messages`. The order to read it in: `states` (who may
say what when), `messages` (what is said), `participant` and `aggregator` (the two roles), then the parts they are made
of. `docs/protocol.md` specifies all of it to the byte.
"""
