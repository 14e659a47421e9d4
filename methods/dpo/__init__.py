"""DPO with QLoRA (CHAMELEON, appendix A.5)."""
