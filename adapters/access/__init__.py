"""Who asks: API keys and tokens of an identity provider, and what is kept of them."""
