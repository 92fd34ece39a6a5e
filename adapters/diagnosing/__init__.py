"""What is wrong with an installation, in plain words. Nothing here changes or makes anything."""
