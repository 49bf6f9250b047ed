"""The registry: a service from which the entitled download releases, and which never alters or runs one."""
