# One's own account, documentation.
