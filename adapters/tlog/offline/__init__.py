"""The verifier that travels with a bundle. Its parts are joined to one file (`joined`)."""
