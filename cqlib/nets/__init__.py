"""Building blocks of several systems: convolutional and residual nets, coupling layers, autoregressive nets."""
