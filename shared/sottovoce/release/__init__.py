"""A release: a published global model with its signed manifest, in a folder written atomically.

`write` makes one, `check` verifies one without building the model and says what it verified, `load` builds the model.
"""
