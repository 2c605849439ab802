"""The one training loop, its batches, optimisers and device."""
