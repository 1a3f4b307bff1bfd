"""What every HTTP service has in common: requests, what came of them, pace and credentials. No room is known here."""
