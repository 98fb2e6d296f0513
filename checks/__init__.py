"""What is checked, and what a result means."""
