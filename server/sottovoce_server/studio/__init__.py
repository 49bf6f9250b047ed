"""The studio: models as a service, with a page to make music on."""
