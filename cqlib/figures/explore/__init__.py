"""What the notebook `explore` shows: latent codes, inpainting, and the bits of unusual images."""
