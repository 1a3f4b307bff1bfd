"""What a route does to rows on their way: conditions and masks. Pure; every kind of target uses the same."""
