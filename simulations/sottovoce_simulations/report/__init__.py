"""Reports of simulations: tables, plots and an HTML page."""
