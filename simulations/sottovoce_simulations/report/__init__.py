"""What a simulation leaves for its reader: tables, plots and one page that shows them."""
