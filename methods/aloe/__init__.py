"""ALOE: supervised fine-tuning on conversations (Wu et al. 2024)."""
