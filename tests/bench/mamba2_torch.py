#!/usr/bin/env python3
"""Times Mamba-2 of a given shape in PyTorch: what `wavetape bench prefill` and `bench train` are held against.

    python3 tests/bench/mamba2_torch.py --backend fla --layers 48 --hidden 2048 --tokens 131072          # one GPU, bf16
    python3 tests/bench/mamba2_torch.py --backend fla --layers 4 --hidden 4096 --ffn 14336 --tokens 131072
    python3 tests/bench/mamba2_torch.py --backend transformers --layers 24 --hidden 768 --tokens 2048 --threads 2

fla: the Triton kernels of flash-linear-attention (simple_gla, causal_conv1d, RMS norm), put together to the same layers
in plain PyTorch; forward only, since its gated backward refuses to run on Hopper under Triton 3.6. transformers: the
library's own Mamba2ForCausalLM without head, on its PyTorch path; --train runs forward and backward. Random weights;
heads of 64, state 128, one group. Prints seconds (median of --repeats), tokens a second and peak memory.
"""
import argparse, json, statistics, time

import torch
import torch.nn as nn
import torch.nn.functional as F


class FlaLayer(nn.Module):
    def __init__(self, hidden, ffn, device, dtype):
        super().__init__()
        self.inner, self.heads, self.state = 2 * hidden, 2 * hidden // 64, 128
        self.channels = self.inner + 2 * self.state
        make = dict(device=device, dtype=dtype)
        from fla.modules import RMSNorm
        self.norm = RMSNorm(hidden, **make)
        self.in_proj = nn.Linear(hidden, self.inner + self.channels + self.heads, bias=False, **make)
        self.conv_weight = nn.Parameter(0.3 * torch.randn(self.channels, 4, **make))
        self.conv_bias = nn.Parameter(torch.zeros(self.channels, **make))
        self.dt_bias = nn.Parameter(torch.zeros(self.heads, device=device))
        self.a_log = nn.Parameter(torch.zeros(self.heads, device=device))
        self.d = nn.Parameter(torch.ones(self.heads, **make))
        self.gated_norm = RMSNorm(self.inner, **make)
        self.out_proj = nn.Linear(self.inner, hidden, bias=False, **make)
        self.mlp_norm = RMSNorm(hidden, **make) if ffn else None
        self.gate_up = nn.Linear(hidden, 2 * ffn, bias=False, **make) if ffn else None
        self.down = nn.Linear(ffn, hidden, bias=False, **make) if ffn else None

    def forward(self, x):
        from fla.modules.convolution import causal_conv1d
        from fla.ops.simple_gla import chunk_simple_gla
        batch, rows, _ = x.shape
        z, xbc, dt = self.in_proj(self.norm(x)).split([self.inner, self.channels, self.heads], dim=-1)
        xbc = causal_conv1d(xbc.contiguous(), self.conv_weight, self.conv_bias, activation="silu")
        xbc = xbc[0] if isinstance(xbc, tuple) else xbc
        v, b, c = xbc.split([self.inner, self.state, self.state], dim=-1)
        v = v.reshape(batch, rows, self.heads, 64)
        step = F.softplus(dt.float() + self.dt_bias)
        shared = lambda t: t[:, :, None].expand(batch, rows, self.heads, self.state).contiguous()
        y, _ = chunk_simple_gla(shared(c), shared(b), v * step[..., None].to(v.dtype), g=-step * self.a_log.exp(), scale=1.0)
        y = (y + v * self.d[:, None]).reshape(batch, rows, self.inner)
        x = x + self.out_proj(self.gated_norm(y * F.silu(z)))
        if self.mlp_norm is None:
            return x
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def fla_model(options, device, dtype):
    layers = nn.ModuleList(FlaLayer(options.hidden, options.ffn, device, dtype) for _ in range(options.layers))

    def run(x):
        for layer in layers:
            x = layer(x)
        return x

    return run, lambda: torch.randn(options.batch, options.tokens, options.hidden, device=device, dtype=dtype), []


def transformers_model(options, device, dtype):
    from transformers import Mamba2Config, Mamba2Model
    config = Mamba2Config(num_hidden_layers=options.layers, hidden_size=options.hidden, num_heads=2 * options.hidden // 64,
                          head_dim=64, state_size=128, n_groups=1, vocab_size=1000, chunk_size=options.chunk)
    model = Mamba2Model(config).to(device=device, dtype=dtype)
    make = lambda: torch.randn(options.batch, options.tokens, options.hidden, device=device, dtype=dtype)
    return lambda x: model(inputs_embeds=x, use_cache=False).last_hidden_state, make, list(model.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["fla", "transformers"], default="fla")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--ffn", type=int, default=0, help="width of a feed-forward half (fla)")
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if gpu else ("cpu", torch.float32)
    run, make, parameters = (fla_model if options.backend == "fla" else transformers_model)(options, device, dtype)
    x, times = make(), []
    for repeat in range(options.repeats + 1):
        if gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        if options.train:
            for parameter in parameters:
                parameter.grad = None
            run(x).sum().backward()
        else:
            with torch.no_grad():
                run(x)
        if gpu:
            torch.cuda.synchronize()
        if repeat:
            times.append(time.perf_counter() - start)
    seconds, tokens = statistics.median(times), options.tokens * options.batch
    peak = torch.cuda.max_memory_allocated() / 2**30 if gpu else 0
    print(json.dumps({"backend": options.backend, "train": options.train, "layers": options.layers, "hidden": options.hidden,
                      "tokens": tokens, "seconds": round(seconds, 4), "tokens_per_second": round(tokens / seconds),
                      "peak_gib": round(peak, 2)}))


if __name__ == "__main__":
    main()
