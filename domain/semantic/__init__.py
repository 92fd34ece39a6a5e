"""What changed between two configurations, as a person would say it."""
