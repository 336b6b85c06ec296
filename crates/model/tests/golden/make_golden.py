#!/usr/bin/env python3
"""Makes smollm2.json: what PyTorch and transformers compute from the same weights, in f32.

    pip install torch transformers gguf numpy
    make_golden.py "$(scripts/fetch-smollm2.sh)" > crates/model/tests/golden/smollm2.json

The weights are expanded from the quantised file to f32 and not rounded again, so the test, which expands the same
file, differs from these numbers by the order of sums only.
"""
import json
import os
import sys

import gguf
import numpy as np
import torch
import transformers
from gguf.quants import dequantize

PROMPTS = [
    "The capital of France is",
    "In 1969, 3 astronauts flew to the Moon;\n  两个人走在月球上 🌕, and they couldn't",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return " + "fibonacci(n - 1) + fibonacci(n - 2)\n" * 12,
]
CHAT = [
    {"role": "user", "content": "What is a block table?"},
    {"role": "assistant", "content": "A list of cache blocks."},
    {"role": "user", "content": "Say it in Korean: 안녕하세요"},
]
TEXTS = [
    "", " ", "\n\n", "12345 is 3.14", "  leading", "trailing  ", "I'll they've DON'T", "naïve café — “quotes”",
    "<|im_start|>user\nhi<|im_end|>\n", "emoji 👩‍🚀🌕", "tab\tand\r\nline", "日本語とКириллица", "a" * 40, "<|endoftext|>x",
]
SUBSET = list(range(0, 49152, 997))
STEPS = 24

torch.manual_seed(0)
torch.set_grad_enabled(False)


def load(path):
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields["llama." + key].contents()
    heads, kv_heads = get("attention.head_count"), get("attention.head_count_kv")
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    state = {}
    for tensor in reader.tensors:
        w = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        if tensor.name in top:
            state[top[tensor.name]] = w
            continue
        _, layer, part, _ = tensor.name.split(".")
        if part in ("attn_q", "attn_k"):  # the file interleaves rotary pairs
            h = heads if part == "attn_q" else kv_heads
            w = w.reshape(h, w.shape[0] // h // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        state[f"model.layers.{layer}.{names[part]}.weight"] = w.contiguous()
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=get("embedding_length"), intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=get("context_length"), rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        rope_theta=get("rope.freq_base"), tie_word_embeddings=True, attn_implementation="eager",
    )
    assert config.rope_parameters["rope_theta"] == get("rope.freq_base"), config
    model = transformers.LlamaForCausalLM(config).to(torch.float32).eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model


def main(path):
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = load(path)
    cases = []
    for prompt in PROMPTS:
        tokens = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([tokens])).logits[0]
        last = logits[-1]
        best = last.topk(10)
        out = list(tokens)
        margins = []
        for _ in range(STEPS):
            step = model(torch.tensor([out])).logits[0, -1].topk(2)
            margins.append(float(step.values[0] - step.values[1]))
            out.append(int(step.indices[0]))
        cases.append({
            "prompt": prompt, "tokens": tokens,
            "top": [[int(i), float(v)] for i, v in zip(best.indices, best.values)],
            "subset": [float(last[i]) for i in SUBSET],
            "greedy": out[len(tokens):], "least_margin": min(margins),
            "greedy_text": tokenizer.decode(out[len(tokens):], skip_special_tokens=True),
        })
    reader = gguf.GGUFReader(path)
    template = reader.fields["tokenizer.chat_template"].contents()
    text = tokenizer.apply_chat_template(CHAT, chat_template=template, tokenize=False, add_generation_prompt=True)
    json.dump({
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "gguf_sha256":
                      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        "subset_ids": SUBSET, "cases": cases,
        "chat": {"messages": CHAT, "tokens": tokenizer(text, add_special_tokens=False)["input_ids"]},
        "texts": [[t, tokenizer(t, add_special_tokens=False)["input_ids"]] for t in TEXTS],
    }, sys.stdout, ensure_ascii=False, indent=1)


main(sys.argv[1])
