"""What `henge top` shows: looks at a running appliance, and the picture that two of them make."""
