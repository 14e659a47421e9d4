"""CHAMELEON (Zhang et al. 2025, arXiv 2503.01048): personalization by editing MLP outputs along
self-generated preference directions.

Where each part of the paper is:

    3.1  selection of history by PCA        bench/data/selection.py
    3.1  what each question shows of it     bench/data/question_items.py
    3.1  insights c^P and c^N               methods/chameleon/insight.py
    3.1  preference pairs y^P and y^N       methods/chameleon/pairs.py
    3.2  embeddings Phi_l(p^P), Phi_l(p^N)  methods/chameleon/states.py
    3.2  theta^P by SVD                     methods/chameleon/vectors.py: top_direction
    3.2  theta^N by CCS                     methods/chameleon/ccs.py (settings: ccs_config.py)
    3.2  the layers of lowest CCS loss      methods/chameleon/ccs.py: rank_layers
    3.2  the two together, controls         methods/chameleon/directions.py
    3.2, 3.3  the edit of MLP outputs       methods/chameleon/edit.py
    3.2  the edit, row by row of a batch    bench/lm/batched_patches.py
    3.3  for a group, for each user         methods/chameleon/chameleon.py: fit, adapt
    4.1  the baseline                       methods/instruct.py
    4.2  Table 1, users with history        conf/experiment/chameleon_table1.yaml
    4.3  Table 2, unseen users              conf/experiment/chameleon_table2.yaml
    4.4  Table 3, halves of the edit        conf/experiment/chameleon_table3.yaml
    4    Figures 3 to 5                     conf/experiment/chameleon_fig*.yaml
    A.3  the prompts                        conf/task/*.yaml: chameleon
    A.5  DPO                                methods/dpo/dpo.py

What the paper leaves open, and what was chosen: docs/choices.md, A1 to A16.
"""
