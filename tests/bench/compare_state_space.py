#!/usr/bin/env python3
"""Holds Mamba-2 and Bamba as wavetape computes them to what `transformers` makes of them, on models drawn at random.

    python3 tests/bench/compare_state_space.py --program build/release/wavetape [--models 12] [--seed 1]

Each model (width, heads, groups, state, limits, biases, attention layers, tied or not are drawn) is written by
`transformers`, read by us, and run in f64 on random texts: whole and in segments of several sizes, activations kept and
run again. Compared are logits, loss, and the gradient of every parameter. Then our export of it is read back by
`transformers`. Needs torch, transformers and safetensors; its slow path is enough.
"""
import argparse, os, random, subprocess, sys, tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BambaConfig, BambaForCausalLM, Mamba2Config, Mamba2ForCausalLM
from transformers.utils import logging

torch.set_default_dtype(torch.float64)
logging.set_verbosity_error()
logging.disable_progress_bar()


def widen():
    """The library rounds to float32 inside (norms, steps, decays): here it keeps float64, so that 1e-6 means something."""
    wide = lambda value: torch.float64 if value is torch.float32 else value
    to, softmax = torch.Tensor.to, torch.nn.functional.softmax
    torch.Tensor.float = lambda tensor, *args, **kwargs: to(tensor, torch.float64)
    torch.Tensor.to = lambda tensor, *args, **kwargs: to(tensor, *map(wide, args),
                                                         **{key: wide(value) for key, value in kwargs.items()})
    torch.nn.functional.softmax = lambda tensor, dim=None, dtype=None, **kwargs: softmax(tensor, dim=dim, dtype=wide(dtype))


def run(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{program} {' '.join(map(str, arguments))}\n{result.stderr.strip()}")


def draw_model(pick):
    groups = pick.choice([1, 1, 2])
    heads, width = groups * pick.choice([1, 2, 3]), pick.choice([4, 8, 16])
    expand = pick.choice([1, 2])
    while heads * width % expand:
        expand = 1
    hidden = heads * width // expand
    common = dict(vocab_size=pick.choice([17, 61]), hidden_size=hidden, initializer_range=0.3, pad_token_id=None,
                  bos_token_id=None, eos_token_id=None, tie_word_embeddings=pick.choice([True, False]),
                  time_step_limit=pick.choice([(0.0, float("inf")), (0.05, 1.0)]))
    state, kernel, chunk = pick.choice([3, 8, 16]), pick.choice([2, 4]), pick.choice([4, 16, 256])
    if pick.random() < 0.5:
        config = Mamba2Config(num_hidden_layers=pick.choice([1, 3]), num_heads=heads, head_dim=width, expand=expand,
                              state_size=state, n_groups=groups, conv_kernel=kernel, chunk_size=chunk,
                              use_bias=pick.choice([True, False]), use_conv_bias=pick.choice([True, False]), **common)
        return Mamba2ForCausalLM(config)
    layers = pick.choice([2, 4])
    attention_heads = pick.choice([h for h in (1, 2, 4) if hidden % (4 * h) == 0] or [1])
    if hidden % (4 * attention_heads):
        return draw_model(pick)
    config = BambaConfig(num_hidden_layers=layers, mamba_n_heads=heads, mamba_d_head=width, mamba_expand=expand,
                         mamba_d_state=state, mamba_n_groups=groups, mamba_d_conv=kernel, mamba_chunk_size=chunk,
                         mamba_conv_bias=pick.choice([True, False]), mamba_proj_bias=pick.choice([True, False]),
                         intermediate_size=pick.choice([8, 24]), num_attention_heads=attention_heads,
                         num_key_value_heads=pick.choice([h for h in (1, 2, 4) if attention_heads % h == 0]),
                         attn_layer_indices=sorted(pick.sample(range(layers), pick.choice([1, layers - 1]))),
                         attention_bias=pick.choice([True, False]), mlp_bias=pick.choice([True, False]), **common)
    return BambaForCausalLM(config)


def relative(ours, theirs):
    return ((ours.double() - theirs).norm() / theirs.norm().clamp_min(1e-30)).item()


def randomise(model, generator):
    """Values that show a mistake: every vector too, and decays from slow to fast."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("A_log"):
                parameter.copy_(noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.3 * noise + (1 if "norm" in name else 0))
            else:
                parameter.copy_(0.3 * noise)
            parameter.copy_(parameter.type(torch.float32).type(torch.float64))  # our weights are f32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/wavetape")
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worst", type=float, default=1e-6, help="largest relative difference (default 1e-6)")
    options = parser.parse_args()
    widen()
    pick, failures = random.Random(options.seed), 0
    for number in range(options.models):
        model = draw_model(pick)
        generator = torch.Generator().manual_seed(1000 * options.seed + number)
        randomise(model, generator)
        model.train()
        n = pick.choice([1, 2, 13, 33])
        ids = torch.randint(model.config.vocab_size, (2, n), generator=generator)
        logits = model(ids).logits
        worst = {"logits": 0.0, "gradient": 0.0}
        if n > 1:
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            loss.backward()
        with tempfile.TemporaryDirectory() as folder:
            source, inputs, outputs, exported = (os.path.join(folder, name) for name in
                                                 ("model", "in.safetensors", "out.safetensors", "exported"))
            model.save_pretrained(source)
            save_file({"input_ids": ids}, inputs)
            for segment in sorted({0, 1, 5, max(1, n - 1)}):
                for activations in ("keep", "recompute"):
                    run(options.program, "forward", source, "--input", inputs, "--output", outputs, "--dtype", "f64",
                        "--segment-size", segment, "--activations", activations, *(["--backward"] if n > 1 else []))
                    ours = load_file(outputs)
                    worst["logits"] = max(worst["logits"], relative(ours["logits"], logits.detach()))
                    for name, parameter in model.named_parameters() if n > 1 else []:
                        if parameter.grad.norm() > 1e-12:
                            worst["gradient"] = max(worst["gradient"], relative(ours["grad." + name], parameter.grad))
            run(options.program, "export", source, exported)
            again = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float64)
            with torch.no_grad():
                worst["exported"] = relative(again(ids).logits, logits.detach())
        bad = any(not value <= options.worst for value in worst.values())
        failures += bad
        config = model.config
        what = f"{config.model_type}, {config.num_hidden_layers} layers of width {config.hidden_size}, {n} tokens"
        print(f"{'FAIL' if bad else 'ok  '} {what}: " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    print(f"{options.models - failures} of {options.models} models agree")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
