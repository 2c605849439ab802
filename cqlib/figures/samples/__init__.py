"""What the notebook on samples asks: does a model copy its training images?"""
