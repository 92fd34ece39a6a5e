"""Bringing history that exists already in: from folders of exports, through the intake."""
