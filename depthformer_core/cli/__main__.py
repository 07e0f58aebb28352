"""`python -m depthformer_core.cli`, which is how `torchrun -m` starts it."""

from depthformer_core.cli import main

main()
