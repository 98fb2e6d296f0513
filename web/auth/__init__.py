"""Who is asking, and what they may do: the first-run link, passwords, sessions, API tokens, roles, CSRF."""
