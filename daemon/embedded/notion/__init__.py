"""Notion in the demo: a simulated workspace, what the daemon shows there, people who work in it, and who counts."""
