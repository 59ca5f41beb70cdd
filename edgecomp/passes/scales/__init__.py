"""Where the scale of a channel can be moved from one layer to the next.

``region`` grows the values that share the channels of a product or a normalisation, ``rules`` say
per operator how channels go through it, ``apply`` rewrites the constants at both ends.
"""
