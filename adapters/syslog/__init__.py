"""Hearing from devices that they were changed."""
