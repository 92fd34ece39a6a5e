"""Bringing history that exists already in, through the intake: folders and git repositories."""
