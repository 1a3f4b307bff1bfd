"""Repairing a source after a gap: a new slot and era, every table copied again, what is gone deleted."""
