"""The registry: a service that serves releases to entitled clients, and never alters or runs one."""
