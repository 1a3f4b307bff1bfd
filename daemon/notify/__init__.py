"""Tells somebody that conflicts wait for a person: by webhook, by e-mail, or both."""
