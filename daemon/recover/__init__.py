"""Getting back what a target has lost."""
