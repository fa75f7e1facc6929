"""Sources, indices, decoding, order and loaders: the way of an image to a batch."""
