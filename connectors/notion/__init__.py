"""Notion: databases of a workspace, each of them a table of the hub."""
