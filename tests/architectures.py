"""Configs of small models of many architectures, for tests of which of them kpig may learn with."""

import torch
import transformers as hf
from transformers import AutoModelForCausalLM

ENDS = {"vocab_size": 4096, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
GROUPED = {**SIZE, "num_key_value_heads": 2}
SHORT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
FALCON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WINDOW = 16

CAUSAL = {
    "llama": lambda: hf.LlamaConfig(**ENDS, **GROUPED),
    "tied llama": lambda: hf.LlamaConfig(**ENDS, **GROUPED, tie_word_embeddings=True),
    "qwen3": lambda: hf.Qwen3Config(**ENDS, **GROUPED, head_dim=8),
    "gpt2": lambda: hf.GPT2Config(**ENDS, **SHORT),
    "gemma2": lambda: hf.Gemma2Config(**ENDS, **GROUPED, head_dim=8, sliding_window=WINDOW),
    "gemma3": lambda: hf.Gemma3TextConfig(**ENDS, **GROUPED, head_dim=8, sliding_window=WINDOW),
    "mistral": lambda: hf.MistralConfig(**ENDS, **GROUPED, sliding_window=WINDOW),
    "phi3": lambda: hf.Phi3Config(**ENDS, **GROUPED, sliding_window=WINDOW),
    "olmo3": lambda: hf.Olmo3Config(**ENDS, **GROUPED, sliding_window=WINDOW),
    "starcoder2": lambda: hf.Starcoder2Config(**ENDS, **GROUPED, sliding_window=WINDOW),
    "qwen2": lambda: hf.Qwen2Config(
        **ENDS, **GROUPED, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=0
    ),
    "opt": lambda: hf.OPTConfig(
        **ENDS,
        hidden_size=32,
        ffn_dim=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
    ),
    "bloom": lambda: hf.BloomConfig(**ENDS, hidden_size=32, n_layer=2, n_head=4),
    "gpt_neox": lambda: hf.GPTNeoXConfig(**ENDS, **SIZE),
    "gptj": lambda: hf.GPTJConfig(**ENDS, **SHORT, rotary_dim=4),
    "mpt": lambda: hf.MptConfig(**ENDS, d_model=32, n_heads=4, n_layers=2, max_seq_len=200),
    "falcon": lambda: hf.FalconConfig(**ENDS, **FALCON),
    "falcon with alibi": lambda: hf.FalconConfig(**ENDS, **FALCON, alibi=True),
    "mamba": lambda: hf.MambaConfig(**ENDS, hidden_size=32, num_hidden_layers=2, state_size=4),
    "openai-gpt": lambda: hf.OpenAIGPTConfig(vocab_size=4096, **SHORT),
    "mixtral": lambda: hf.MixtralConfig(**ENDS, **GROUPED, num_local_experts=4),
    "bert as a decoder": lambda: hf.BertConfig(**ENDS, **SIZE, is_decoder=True),
}
"""Plain causal language models: kpig must take them."""

SEES_LATER = {
    "bert": lambda: hf.BertConfig(**ENDS, **SIZE),
    "roberta": lambda: hf.RobertaConfig(**ENDS, **SIZE),
    "electra": lambda: hf.ElectraConfig(**ENDS, **SIZE, embedding_size=32),
    "xlnet": lambda: hf.XLNetConfig(**ENDS, d_model=32, n_layer=2, n_head=4, d_inner=56),
}
"""Models that transformers loads as causal ones but whose tokens see later ones."""

IGNORES_MASK = {
    "rwkv": lambda: hf.RwkvConfig(
        **ENDS, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32, intermediate_size=56
    ),
    "bart": lambda: hf.BartConfig(
        **ENDS, d_model=32, decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=56
    ),
}
"""Models, here BART's decoder alone, that count padding on the left as part of a text."""

WINDOWED = ("gemma2", "gemma3", "mistral", "phi3", "olmo3", "starcoder2", "qwen2")
MASKLESS = ("bloom", "mpt", "falcon with alibi", "mamba", "openai-gpt")
"""Those that cannot be told which examples share a row."""


def build(config, scale=0.0, seed=0):
    """A model with random weights as the architecture draws them, and `scale` times noise on its matrices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.add_(scale * torch.randn(weight.shape))
    return model
