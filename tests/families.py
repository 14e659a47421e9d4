"""Tiny random models of many families, each with its own peculiarities left on: windows shorter
than a prompt, tied embeddings, capped and scaled logits, layers that share keys, recurrent states,
experts, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.lm.load import tiny
from bench.lm.model import LM
from bench.lm.spec import ModelSpec

WINDOW = 24
"""Tokens that a sliding window sees: fewer than any prompt of the tests has."""

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "initializer_range": 0.4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ALTERNATING = ["sliding_attention", "full_attention"] * 2
RECURRENT = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "layer_types": RECURRENT,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
STATE = {
    "mamba_d_ssm": 64,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}
PICTURES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
T5_SHAPE: dict[str, Any] = {
    "d_model": 32,
    "d_ff": 48,
    "d_kv": 8,
    "num_layers": 3,
    "num_heads": 4,
    "initializer_factor": 2.0,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}


@dataclass(frozen=True)
class FamilyModel:
    """A family: its configuration class in transformers, and what is peculiar about it."""

    config: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    shape: Mapping[str, Any] = field(default_factory=lambda: SHAPE)

    def build(self) -> Any:
        """The random model and its tokenizer, of bytes."""
        import transformers

        _, tokenizer = tiny("t5" if self.encodes else "llama")
        words = {"vocab_size": len(tokenizer)}
        if "text_config" in self.fields:
            fields = {**self.fields, "text_config": SHAPE | words | self.fields["text_config"]}
        elif "encoder" in self.fields:
            part = SHAPE | words | self.fields["encoder"]
            fields = words | {"encoder": part, "decoder": part, "decoder_start_token_id": 1}
        else:
            fields = {**self.shape, **words, **self.fields}
        config = getattr(transformers, self.config)(**fields)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = getattr(transformers, self._class)._from_config(config)
        _roughen(model)
        return model, tokenizer

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder-decoder."""
        return self.config.startswith(("T5", "MT5"))

    @property
    def _class(self) -> str:
        name = self.config.removesuffix("Config").removesuffix("Text")
        several = self.encodes or "text_config" in self.fields
        return f"{name}ForConditionalGeneration" if several else f"{name}ForCausalLM"

    def load(self, folder: Path, **changes: Any) -> LM:
        """The model as a user has it: written into a folder, and read by the loader."""
        model, tokenizer = self.build()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        fields: dict[str, Any] = {"dtype": "float32", "device": "cpu", "max_prompt_tokens": 2000}
        return LM(ModelSpec("family", str(folder), **fields | changes))


def _roughen(model: Any) -> None:
    """Random numbers for what a family begins with zeros or ones: norms, gates, biases, sinks."""
    stream = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() < 2:
            noise = torch.randn(parameter.shape, generator=stream)
            parameter.data += 0.2 * noise.to(parameter)


FAMILIES: dict[str, FamilyModel] = {
    "llama": FamilyModel("LlamaConfig"),
    "mistral": FamilyModel("MistralConfig", {"sliding_window": WINDOW}),
    "mixtral": FamilyModel("MixtralConfig", {"num_local_experts": 4, "sliding_window": None}),
    "qwen2": FamilyModel("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": FamilyModel("Qwen3Config", {"tie_word_embeddings": True}),
    "qwen3_moe": FamilyModel("Qwen3MoeConfig", {**EXPERTS, "mlp_only_layers": [0]}),
    "qwen3_next": FamilyModel(
        "Qwen3NextConfig", {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 16}
    ),
    "qwen3_5": FamilyModel("Qwen3_5TextConfig", LINEAR),
    "gemma2": FamilyModel(
        "Gemma2Config",
        {
            "sliding_window": WINDOW,
            "final_logit_softcapping": 3.0,
            "attn_logit_softcapping": 5.0,
            "query_pre_attn_scalar": 8,
        },
    ),
    "gemma3": FamilyModel(
        "Gemma3TextConfig",
        {
            "sliding_window": WINDOW,
            "layer_types": ALTERNATING,
            "query_pre_attn_scalar": 8,
        },
    ),
    "gemma3_pictures": FamilyModel(
        "Gemma3Config",
        {
            "text_config": {"sliding_window": WINDOW, "layer_types": ALTERNATING},
            "vision_config": PICTURES,
            "mm_tokens_per_image": 4,
            "image_token_index": 255,
            "boi_token_index": 254,
            "eoi_token_index": 253,
        },
    ),
    "gemma3n": FamilyModel(
        "Gemma3nTextConfig",
        {
            "sliding_window": WINDOW,
            "layer_types": ALTERNATING,
            "num_kv_shared_layers": 2,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 256,
            "laurel_rank": 4,
            "altup_num_inputs": 2,
        },
    ),
    "gemma4": FamilyModel(
        "Gemma4TextConfig",
        {
            "sliding_window": WINDOW,
            "layer_types": ALTERNATING,
            "num_kv_shared_layers": 2,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 262,
            "final_logit_softcapping": 5.0,
        },
    ),
    "qwen3_5_pictures": FamilyModel(
        "Qwen3_5Config",
        {
            "text_config": LINEAR,
            "vision_config": {
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "patch_size": 14,
                "out_hidden_size": 32,
            },
            "image_token_id": 250,
            "video_token_id": 251,
            "vision_start_token_id": 252,
            "vision_end_token_id": 253,
        },
    ),
    "mistral3_pictures": FamilyModel(
        "Mistral3Config",
        {"text_config": {"model_type": "mistral"}, "vision_config": PICTURES},
    ),
    "phi3": FamilyModel("Phi3Config", {"sliding_window": WINDOW}),
    "olmo2": FamilyModel("Olmo2Config"),
    "olmo3": FamilyModel("Olmo3Config", {"sliding_window": WINDOW, "layer_types": ALTERNATING}),
    "granite": FamilyModel(
        "GraniteConfig",
        {
            "logits_scaling": 8.0,
            "embedding_multiplier": 2.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.3,
        },
    ),
    "granitemoehybrid": FamilyModel(
        "GraniteMoeHybridConfig",
        {
            **STATE,
            "layer_types": RECURRENT,
            "num_local_experts": 4,
            "shared_intermediate_size": 24,
            "logits_scaling": 4.0,
        },
    ),
    "granitemoehybrid_dense": FamilyModel(
        "GraniteMoeHybridConfig",
        {**STATE, "layer_types": RECURRENT, "num_local_experts": 0, "shared_intermediate_size": 24},
    ),
    "cohere2": FamilyModel(
        "Cohere2Config",
        {"sliding_window": WINDOW, "layer_types": ALTERNATING, "logit_scale": 0.25},
    ),
    "glm4": FamilyModel("Glm4Config"),
    "gpt_oss": FamilyModel(
        "GptOssConfig",
        {"sliding_window": WINDOW, "layer_types": ALTERNATING, "num_local_experts": 4},
    ),
    "smollm3": FamilyModel("SmolLM3Config", {"no_rope_layer_interval": 2}),
    "lfm2": FamilyModel(
        "Lfm2Config", {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 8}
    ),
    "falcon_h1": FamilyModel("FalconH1Config", {**STATE, "lm_head_multiplier": 0.5}),
    "mamba2": FamilyModel(
        "Mamba2Config",
        {
            "num_heads": 8,
            "head_dim": 8,
            "state_size": 8,
            "n_groups": 2,
            "chunk_size": 16,
        },
    ),
    "deepseek_v3": FamilyModel(
        "DeepseekV3Config",
        {
            "head_dim": 4,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "llama4": FamilyModel(
        "Llama4TextConfig",
        {
            "num_local_experts": 2,
            "intermediate_size_mlp": 48,
            "attention_chunk_size": WINDOW,
            "no_rope_layers": [1, 1, 1, 0],
        },
    ),
    "t5": FamilyModel("T5Config", {"feed_forward_proj": "relu"}, T5_SHAPE),
    "flan_t5": FamilyModel(
        "T5Config", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, T5_SHAPE
    ),
    "mt5": FamilyModel("MT5Config", {}, T5_SHAPE),
    "t5gemma": FamilyModel(
        "T5GemmaConfig",
        {"encoder": {"sliding_window": WINDOW, "layer_types": ALTERNATING}},
    ),
}
