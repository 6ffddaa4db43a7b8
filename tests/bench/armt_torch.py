#!/usr/bin/env python3
"""ARMT on Llama in plain eager PyTorch: the program a PyTorch user would straightforwardly write.

It is the other side of our throughput comparisons, and a second opinion on the mathematics.

    python3 armt_torch.py --layers 4 --hidden 128 --segments 4 --batch 16 --steps 20 --device cpu --threads 2
    python3 armt_torch.py --prefill 131072 --device cuda --dtype bfloat16      # reading alone; --backward: and back
    python3 armt_torch.py --prefill 2560 --decode 128 --device cuda --dtype bfloat16
    python3 armt_torch.py --check FILE.safetensors     # logits, memory, loss and gradients of a golden fixture, in double

The first prints tokens/s of whole training steps (forward, backward, clipping, AdamW). --recompute keeps only what goes
into each cell and runs it again on the way back. Needs torch >= 2.4 alone.
B batch, N tokens and M memory rows of a segment, T = N + M, D width, H heads, P = 2·nu·d_mem.
"""
import argparse, json, struct, time
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    """An ordinary Llama decoder layer."""

    def __init__(self, c):
        super().__init__()
        self.H, self.KV, self.hd = c["heads"], c["kv_heads"], c["hidden"] // c["heads"]
        D, I = c["hidden"], c["ffn"]
        self.norm1 = nn.RMSNorm(D, eps=c["eps"])
        self.norm2 = nn.RMSNorm(D, eps=c["eps"])
        self.q = nn.Linear(D, self.H * self.hd, bias=False)
        self.k = nn.Linear(D, self.KV * self.hd, bias=False)
        self.v = nn.Linear(D, self.KV * self.hd, bias=False)
        self.o = nn.Linear(self.H * self.hd, D, bias=False)
        self.gate = nn.Linear(D, I, bias=False)
        self.up = nn.Linear(D, I, bias=False)
        self.down = nn.Linear(I, D, bias=False)

    def forward(self, x, cos, sin, cache=None):
        """With a cache [keys, values]: x is one row behind those in it, and joins them."""
        B, T, _ = x.shape
        h = self.norm1(x)
        q = rope(self.q(h).view(B, T, self.H, self.hd).transpose(1, 2), cos, sin)
        k = rope(self.k(h).view(B, T, self.KV, self.hd).transpose(1, 2), cos, sin)
        v = self.v(h).view(B, T, self.KV, self.hd).transpose(1, 2)
        if cache is not None:
            k, v = cache[:] = [torch.cat([old, new], 2) for old, new in zip(cache, (k, v))]
        if self.KV != self.H:
            k, v = (t.repeat_interleave(self.H // self.KV, 1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.o(a.transpose(1, 2).reshape(B, T, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class MemoryBlock(nn.Module):
    """A decoder layer with its associative memory: read before the block, write after it."""

    def __init__(self, c):
        super().__init__()
        D, d = c["hidden"], c["d_mem"]
        self.nu, self.M, self.correction = c["nu"], c["mem_tokens"], c["correction"]
        self.layer = Block(c)
        self.W_mq = nn.Linear(D, d, bias=False)
        self.W_mk = nn.Linear(D, d, bias=False)
        self.W_mv = nn.Linear(D, D, bias=False)
        self.W_mb = nn.Linear(D, 1)

    def phi(self, x):
        u = torch.cat([F.relu(x), F.relu(-x)], -1)
        return torch.cat([u * u.roll(j, -1) for j in range(1, self.nu + 1)], -1)

    def read(self, x, state):
        if state is None:
            return x
        A, z = state
        q = self.phi(self.W_mq(x))                                       # (B, T, P)
        return x + (q @ A) / (q @ z.unsqueeze(-1) + 1e-5)

    def forward(self, x, cos, sin, state):
        y = self.layer(self.read(x, state), cos, sin)
        m = y[:, -self.M:]                                               # (B, M, D)
        k, v, beta = self.phi(self.W_mk(m)), self.W_mv(m), torch.sigmoid(self.W_mb(m))
        if state is None:
            return y, (k.transpose(1, 2) @ (beta * v), k.sum(1))
        A, z = state
        c = k @ z.unsqueeze(-1) + 1e-5                                   # (B, M, 1)
        v_old = (k @ A) / c
        gamma = (1 - c / (k.square().sum(-1, keepdim=True) + 1e-5)).clamp(0, 1).detach() if self.correction else 1.0
        return y, (A + k.transpose(1, 2) @ (beta * (v - v_old)), z + (gamma * k).sum(1))


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class ARMT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        D, hd = c["hidden"], c["hidden"] // c["heads"]
        self.embed = nn.Embedding(c["vocab"], D)
        self.memory = nn.Parameter(torch.empty(c["mem_tokens"], D))
        self.layers = nn.ModuleList(MemoryBlock(c) for _ in range(c["layers"]))
        self.norm = nn.RMSNorm(D, eps=c["eps"])
        self.head = nn.Linear(D, c["vocab"], bias=False)
        if c["tied"]:
            self.head.weight = self.embed.weight
        angle = torch.arange(c["segment"] + c["mem_tokens"]).double()[:, None] * \
            c["theta"] ** (-torch.arange(0, hd, 2).double() / hd)
        angle = torch.cat([angle, angle], -1)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        std = c["init_std"]
        for name, p in self.named_parameters():
            if "W_mv" in name:
                nn.init.zeros_(p)
            elif "W_m" not in name and "norm" not in name:
                nn.init.normal_(p, std=std)

    def forward(self, ids):
        """ids (B, n) → hidden rows (B, n, D) after the last norm, and the layers' memories."""
        N, M, B = self.c["segment"], self.c["mem_tokens"], ids.shape[0]
        state, out = [None] * len(self.layers), []
        for s in range(0, ids.shape[1], N):
            part = ids[:, s:s + N]
            n = part.shape[1]
            x = torch.cat([self.embed(part), self.memory.expand(B, M, -1)], 1)
            cos, sin = self.cos[:n + M].to(x.dtype), self.sin[:n + M].to(x.dtype)
            for l, layer in enumerate(self.layers):
                if self.c.get("recompute"):
                    x, state[l] = checkpoint(layer, x, cos, sin, state[l], use_reentrant=False)
                else:
                    x, state[l] = layer(x, cos, sin, state[l])
            out.append(self.norm(x[:, :n]))
        return torch.cat(out, 1), state

    def decode(self, ids, count):
        """Greedy: `count` ids (B, count) after ids (B, n), and their logits. n ends within a segment, which stays open."""
        N, B = self.c["segment"], ids.shape[0]
        closed = ids.shape[1] // N * N
        _, state = self(ids[:, :closed]) if closed else (None, [None] * len(self.layers))
        hd = self.layers[0].layer.hd
        caches = [[self.memory.new_empty(B, layer.layer.KV, 0, hd) for _ in range(2)] for layer in self.layers]
        part, at, out, logits = ids[:, closed:], 0, [], []
        while len(out) < count:
            x = self.embed(part)
            rows = slice(at, at + part.shape[1])
            for l, layer in enumerate(self.layers):
                x = layer.layer(layer.read(x, state[l]), self.cos[rows].to(x.dtype), self.sin[rows].to(x.dtype), caches[l])
            logits.append(self.head(self.norm(x[:, -1])))
            at += part.shape[1]
            part = logits[-1].argmax(-1, keepdim=True)
            out.append(part)
        return torch.cat(out, 1), torch.stack(logits, 1)

    def loss(self, ids, labels_mask):
        """Mean cross-entropy of token t+1 over the positions t whose labels_mask is true; the head runs on those rows only."""
        h, _ = self(ids)
        keep = labels_mask[:, :-1].bool()
        return F.cross_entropy(self.head(h[:, :-1][keep]), ids[:, 1:][keep])


def load_golden(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    meta = json.loads(head.pop("__metadata__")["meta"])
    kinds = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}
    tensors = {}
    for k, v in head.items():
        a, b = v["data_offsets"]
        tensors[k] = torch.frombuffer(bytearray(raw[8 + n + a:8 + n + b]), dtype=kinds[v["dtype"]]).reshape(v["shape"])
    return tensors, meta


def published_name(ours):
    """The published checkpoint's name of one of our parameters."""
    short = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
             "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
             "norm1": "input_layernorm", "norm2": "post_attention_layernorm"}
    base = "memory_cell.model.model."
    fixed = {"memory": "memory_cell.memory", "embed.weight": base + "embed_tokens.weight", "norm.weight": base + "norm.weight",
             "head.weight": "memory_cell.model.lm_head.weight"}
    if ours in fixed:
        return fixed[ours]
    part = ours.split(".")
    if part[2] == "layer":
        part[3] = short[part[3]]
    return base + ".".join(part)


def check(path):
    T, meta = load_golden(path)
    h, a = meta["config"], meta["armt"]
    assert h["model_type"] == "llama" and h["rope_parameters"]["rope_type"] == "default"
    c = dict(vocab=h["vocab_size"], hidden=h["hidden_size"], layers=h["num_hidden_layers"], heads=h["num_attention_heads"],
             kv_heads=h["num_key_value_heads"], ffn=h["intermediate_size"], eps=h["rms_norm_eps"], tied=h["tie_word_embeddings"],
             theta=h["rope_parameters"]["rope_theta"], segment=a["segment_size"], mem_tokens=a["num_mem_tokens"], d_mem=a["d_mem"],
             nu=a["nu"], correction=a["correction"], init_std=0.02)
    model = ARMT(c).double()
    hd = c["hidden"] // c["heads"]
    angle = torch.arange(c["segment"] + c["mem_tokens"]).double()[:, None] * c["theta"] ** (-torch.arange(0, hd, 2).double() / hd)
    model.cos, model.sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(T["param." + published_name(name)])
    rel = lambda x, y: ((x - y).norm() / y.norm()).item()
    worst = 0.0
    for n in meta["lens"]:
        ids, mask = T[f"len{n}.input_ids"], T[f"len{n}.labels_mask"]
        model.zero_grad()
        hidden, state = model(ids)
        loss = model.loss(ids, mask)
        loss.backward()
        e = {"logits": rel(model.head(hidden), T[f"len{n}.logits"].double()), "loss": abs(loss.item() - T[f"len{n}.loss"].item()),
             "A": max(rel(s[0], T[f"len{n}.W_mem.{l}"].double()) for l, s in enumerate(state)),
             "z": max(rel(s[1], T[f"len{n}.z.{l}"].double()) for l, s in enumerate(state)), "grad": 0.0}
        for name, p in model.named_parameters():
            want = T.get(f"len{n}.grad." + published_name(name))
            got = p.grad if p.grad is not None else torch.zeros_like(p)
            e["grad"] = max(e["grad"], got.abs().max().item() if want is None else rel(got, want.double()))
        print(f"{path.split('/')[-1]} length {n}: " + "  ".join(f"{k} {v:.1e}" for k, v in e.items()))
        worst = max(worst, *e.values())
    with torch.no_grad():  # decoding against reading it all
        open_rows = c["segment"] // 3 + 1
        prompt = T[f"len{meta['lens'][-1]}.input_ids"][:, :c["segment"] + open_rows]
        new, logits = model.decode(prompt, 5)
        again = model.head(model(torch.cat([prompt, new], 1))[0])[:, prompt.shape[1] - 1:-1]
    e = rel(logits, again)
    print(f"decoding: {e:.1e}")
    worst = max(worst, e)
    print("agrees" if worst < 2e-6 else "DIFFERS")
    return worst < 2e-6


def seconds(args, run):
    """What run() takes until the device is done."""
    sync = (lambda: None) if args.device == "cpu" else torch.cuda.synchronize
    sync()
    start = time.perf_counter()
    run()
    sync()
    return time.perf_counter() - start


def peak_memory(args):
    return "" if args.device == "cpu" else f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"


@torch.no_grad()
def decode(model, c, args):
    """Seconds of one greedy token behind --prefill tokens, the least of three runs' means."""
    model = model.to(getattr(torch, args.dtype))
    ids = torch.randint(c["vocab"], (args.batch, args.prefill), device=args.device)
    tokens = lambda count: seconds(args, lambda: model.decode(ids, count))
    tokens(2)
    each = min(tokens(args.decode + 1) - tokens(1) for _ in range(3)) / args.decode
    print(f"decoding {args.batch} x {args.decode} tokens behind {args.prefill}: {each * 1e3:.3f} ms a token{peak_memory(args)}")


def prefill(model, c, args):
    """Seconds to read --prefill tokens segment by segment, weights and activations in --dtype, without the head."""
    model = model.to(getattr(torch, args.dtype))
    ids = torch.randint(c["vocab"], (args.batch, args.prefill), device=args.device)

    def run():
        if args.backward:
            model(ids)[0].mul(1e-3).sum().backward()
            model.zero_grad(set_to_none=True)
        else:
            with torch.no_grad():
                model(ids)

    times = [seconds(args, run) for _ in range(4)]
    what = "forward and backward" if args.backward else "prefill"
    print(f"{what} of {args.batch} x {args.prefill} tokens: {sorted(times[1:])[1]:.4f} s{peak_memory(args)}")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in dict(layers=4, hidden=128, heads=4, kv_heads=0, ffn=0, vocab=2048, segment=64, mem_tokens=8, d_mem=16, nu=3,
                              segments=4, batch=16, steps=20, threads=2, seed=1).items():
        ap.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    ap.add_argument("--loss-every", type=int, default=13, help="one loss position in this many")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="bfloat16: autocast")
    ap.add_argument("--check", metavar="FILE")
    ap.add_argument("--prefill", type=int, metavar="TOKENS", help="time reading this many tokens instead, in --dtype, no head")
    ap.add_argument("--backward", action="store_true", help="with --prefill: forward and backward through all output rows")
    ap.add_argument("--decode", type=int, metavar="COUNT", help="with --prefill: time greedy tokens behind them")
    ap.add_argument("--recompute", action="store_true", help="keep a cell's input only")
    args = ap.parse_args()
    if args.decode and (not args.prefill or args.prefill % args.segment == 0):
        ap.error(f"--decode wants a --prefill that ends within a segment of {args.segment} tokens")
    if args.check:
        raise SystemExit(0 if check(args.check) else 1)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    c = dict(vars(args), kv_heads=args.kv_heads or args.heads, ffn=args.ffn or 2 * args.hidden, eps=1e-5, tied=False, theta=1e4,
             correction=True, init_std=0.1)
    with torch.device(args.device):
        model = ARMT(c)
    if args.prefill:
        return (decode if args.decode else prefill)(model, c, args)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    n = args.segments * args.segment
    ids = torch.randint(c["vocab"], (args.batch, n), device=args.device)
    mask = (torch.arange(n, device=args.device) % args.loss_every == 0).expand(args.batch, n)

    def step():
        with torch.autocast(args.device.split(":")[0], torch.bfloat16, enabled=args.dtype == "bfloat16"):
            loss = model.loss(ids, mask)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        losses.append(loss.detach())

    losses = []
    times = [seconds(args, step) for _ in range(args.steps + 3)]
    t = sorted(times[3:])[args.steps // 2]
    params = sum(p.numel() for p in model.parameters())
    print(f"{params} parameters, {args.batch} x {n} tokens a step, loss {losses[-1].item():.3f}: "
          f"median {t * 1e3:.2f} ms a step, {args.batch * n / t:.0f} tokens/s{peak_memory(args)}")


if __name__ == "__main__":
    main()
