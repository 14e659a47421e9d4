"""CHAMELEON (Zhang et al. 2025): personalization by editing MLP outputs along self-generated
preference directions.
"""
