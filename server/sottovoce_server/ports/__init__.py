"""Protection of ports: limits on headers, bodies, time and connections."""
