"""The native kernels, in each copy that this processor can run, against PyTorch."""
