"""Recipes: what is done to which layer, as a file that a build can be repeated from."""
