"""The shapes in which things are shown: by the API as its answers, and by the command line as JSON.

One module for each kind of thing. They know nothing of HTTP.
"""
