"""When things happen, and telling people."""
