"""A release: a published global model with its signed manifest, in a folder that is whole or absent.

`write` makes one, `check` opens one without building anything and says what it checked, `load` builds the model.
"""
