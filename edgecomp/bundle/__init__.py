"""Write a plan as a bundle, build it with a toolchain, read it back."""
