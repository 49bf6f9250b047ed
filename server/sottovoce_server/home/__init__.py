"""The coordinator's home on disk: keys, certificates, journal and runs."""
