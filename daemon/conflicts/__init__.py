"""What waits for a person at a hub: shown, decided and taken back."""
