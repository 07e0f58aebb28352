"""Export of a network to a file that runs without PyTorch, and its comparison with PyTorch."""
