"""What a source's topics tell of the past: every version of a row, the rows of a table at a moment, the way back."""
