"""A witness: a second party that cosigns checkpoints which extend what it saw, and no others."""
