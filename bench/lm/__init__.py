"""The language model: loading, generating, patching, tuning.

The only part of the harness that imports torch.
"""
