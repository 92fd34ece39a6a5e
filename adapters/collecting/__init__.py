"""Collecting: which devices there are, who we are there, and one reading from asking to telling."""
