"""Requests by which services tell that something has changed: known to be theirs, taken once, and believed in nothing
but which records are to be read anew."""
