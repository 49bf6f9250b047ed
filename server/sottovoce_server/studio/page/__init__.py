"""The studio's pages: rendered on the server, usable without JavaScript, better with it."""
