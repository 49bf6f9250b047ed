"""What stands between a port and the app behind it: limits of headers, bodies, time and connections."""
