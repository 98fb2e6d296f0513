"""Pages and HTTP APIs."""
