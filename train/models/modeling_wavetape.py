"""Recurrent-memory models of wavetape for Hugging Face's library: ARMT and RMT on Llama or GPT-2, in plain PyTorch.

    model = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)
    model.generate(ids, max_new_tokens=20, do_sample=False)

A text is read segment by segment; what crosses a segment's border is the memory alone. generate() keeps it from token to
token, closes a segment when it is full and goes on in the next, as `wavetape generate` does. Texts of a batch must be
equally long: padding is refused, and so are beams. Dropout is not applied. It is one file because a model folder has
one, which auto_map names, and it must run there with nothing else of wavetape.

ARMT: Rodkin et al., arXiv 2407.04841. RMT: Bulatov et al., arXiv 2207.06881.
Legend: B samples, T rows, D width, N tokens and M memory rows of a segment, P = 2 nu d_mem features of a memory key.
"""
import math
from dataclasses import dataclass
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput


class ArmtConfig(PretrainedConfig):
    """The backbone's keys as its own config.json has them, backbone_type, and `armt`."""
    model_type = "armt"
    rope_parameters = None


class RmtConfig(PretrainedConfig):
    """The same with `rmt`."""
    model_type = "rmt"
    rope_parameters = None


class Shape:
    """What the modules need to know, under one name for both backbones."""

    def __init__(self, config):
        self.llama = config.backbone_type == "llama"
        self.armt = config.model_type == "armt"
        memory = config.armt if self.armt else config.rmt
        get = lambda llama, gpt2, default=None: getattr(config, llama if self.llama else gpt2, default)
        self.vocab = config.vocab_size
        self.width = get("hidden_size", "n_embd")
        self.layers = get("num_hidden_layers", "n_layer")
        self.heads = get("num_attention_heads", "n_head")
        self.kv_heads = (getattr(config, "num_key_value_heads", None) if self.llama else None) or self.heads
        self.head_width = (getattr(config, "head_dim", None) if self.llama else None) or self.width // self.heads
        self.inner = get("intermediate_size", "n_inner") or 4 * self.width
        self.eps = get("rms_norm_eps", "layer_norm_epsilon", 1e-6 if self.llama else 1e-5)
        self.max_positions = get("max_position_embeddings", "n_positions", 2048 if self.llama else 1024)
        self.attention_bias = bool(getattr(config, "attention_bias", False))
        self.mlp_bias = bool(getattr(config, "mlp_bias", False))
        tied = getattr(config, "tie_word_embeddings", None)
        self.tied = not self.llama if tied is None else tied
        self.segment = memory["segment_size"]
        self.mem_tokens = memory["num_mem_tokens"]
        self.alignment = memory.get("segment_alignment", "left")
        self.d_mem, self.nu = memory.get("d_mem"), memory.get("nu", 3)
        self.correction = memory.get("correction", True)
        # GPT-2's table: ARMT adds the memory's rows, RMT shares it between tokens and memory.
        self.table = self.max_positions + (self.mem_tokens if self.armt else 0)
        self.segment_rows = self.segment + self.mem_tokens * (1 if self.armt else 2)
        self.rope = dict(getattr(config, "rope_scaling", None) or {}, **(getattr(config, "rope_parameters", None) or {}))
        self.theta = self.rope.get("rope_theta") or getattr(config, "rope_theta", None) or 10000.0


def rotary_frequencies(shape):
    """Angle per position of each of the K/2 pairs, in double."""
    rope, theta, width = shape.rope, shape.theta, shape.head_width
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "dynamic" and shape.segment_rows > shape.max_positions:
        stretch = rope["factor"] * shape.segment_rows / shape.max_positions - (rope["factor"] - 1)
        theta = theta * stretch ** (width / (width - 2))
    f = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    if kind == "linear":
        return f / rope["factor"]
    if kind == "llama3":
        original = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = ((original * f / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
        return smooth * f + (1 - smooth) * f / rope["factor"]
    if kind not in ("default", "dynamic"):
        raise ValueError(f"rotary scaling {kind!r} is not supported")
    return f


def attend(q, k, v, cache):
    """Causal attention of rows behind those in the cache, which they join. q (B, H, T, K), k and v (B, Hkv, T, K)."""
    if cache is not None:
        past = cache.get("k")
        if past is not None:
            k, v = torch.cat([past, k], 2), torch.cat([cache["v"], v], 2)
        cache["k"], cache["v"] = k, v
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    rows, past = q.shape[2], k.shape[2] - q.shape[2]
    if past == 0:
        return F.scaled_dot_product_attention(q, k, v, is_causal=rows > 1)
    mask = torch.ones(rows, rows + past, dtype=torch.bool, device=q.device).tril(past)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class LlamaBlock(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        D, K, bias = shape.width, shape.head_width, shape.attention_bias
        linear = lambda inner, outer, b: nn.Linear(inner, outer, bias=b)
        self.self_attn = nn.ModuleDict({
            "q_proj": linear(D, shape.heads * K, bias), "k_proj": linear(D, shape.kv_heads * K, bias),
            "v_proj": linear(D, shape.kv_heads * K, bias), "o_proj": linear(shape.heads * K, D, bias)})
        self.mlp = nn.ModuleDict({
            "gate_proj": linear(D, shape.inner, shape.mlp_bias), "up_proj": linear(D, shape.inner, shape.mlp_bias),
            "down_proj": linear(shape.inner, D, shape.mlp_bias)})
        self.input_layernorm = nn.RMSNorm(D, eps=shape.eps)
        self.post_attention_layernorm = nn.RMSNorm(D, eps=shape.eps)

    def forward(self, x, rotary, cache):
        B, T, _ = x.shape
        cos, sin = rotary
        heads = lambda t: t.view(B, T, -1, self.shape.head_width).transpose(1, 2)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat([-b, a], -1) * sin

        h = self.input_layernorm(x)
        q, k, v = (heads(self.self_attn[name](h)) for name in ("q_proj", "k_proj", "v_proj"))
        mixed = attend(rotate(q), rotate(k), v, cache)
        x = x + self.self_attn["o_proj"](mixed.transpose(1, 2).reshape(B, T, -1))
        h = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h))


class Conv1D(nn.Module):
    """GPT-2's linear layer: its matrix is (in, out)."""

    def __init__(self, inner, outer):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inner, outer))
        self.bias = nn.Parameter(torch.zeros(outer))

    def forward(self, x):
        return x @ self.weight + self.bias


class Gpt2Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        D = shape.width
        self.ln_1, self.ln_2 = nn.LayerNorm(D, eps=shape.eps), nn.LayerNorm(D, eps=shape.eps)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(D, 3 * D), "c_proj": Conv1D(D, D)})
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(D, shape.inner), "c_proj": Conv1D(shape.inner, D)})

    def forward(self, x, rotary, cache):
        B, T, _ = x.shape
        parts = self.attn["c_attn"](self.ln_1(x)).chunk(3, -1)
        q, k, v = (t.view(B, T, self.shape.heads, -1).transpose(1, 2) for t in parts)
        x = x + self.attn["c_proj"](attend(q, k, v, cache).transpose(1, 2).reshape(B, T, -1))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class MemoryLayer(nn.Module):
    """A block with its associative memory: A (B, P, D) and z (B, P), read before the block, written after it."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        D, d = shape.width, shape.d_mem
        self.layer = (LlamaBlock if shape.llama else Gpt2Block)(shape)
        self.W_mq = nn.Linear(D, d, bias=False)
        self.W_mk = nn.Linear(D, d, bias=False)
        self.W_mv = nn.Linear(D, D, bias=False)
        self.W_mb = nn.Linear(D, 1)

    def features(self, x):
        x = wide(x)
        u = torch.cat([F.relu(x), F.relu(-x)], -1)
        return torch.cat([u * u.roll(j, -1) for j in range(1, self.shape.nu + 1)], -1)

    def forward(self, x, rotary, cache, memory):
        if memory is not None:  # (not yet in the first segment)
            A, z = memory
            q = self.features(self.W_mq(x))
            x = x + ((q @ A) / (q @ z.unsqueeze(-1) + 1e-5)).to(x.dtype)
        return self.layer(x, rotary, cache)

    def write(self, m, memory):
        """The memory after a segment whose memory rows this layer's block has made m (B, M, D) of."""
        k, v = self.features(self.W_mk(m)), wide(self.W_mv(m))
        beta = wide(torch.sigmoid(self.W_mb(m)))
        if memory is None:
            return k.transpose(1, 2) @ (beta * v), k.sum(1)
        A, z = memory
        c = k @ z.unsqueeze(-1) + 1e-5
        v = v - (k @ A) / c
        gamma = (1 - c / (k.square().sum(-1, keepdim=True) + 1e-5)).clamp(0, 1).detach() if self.shape.correction else 1.0
        return A + k.transpose(1, 2) @ (beta * v), z + (gamma * k).sum(1)


def wide(x):
    return x if x.dtype == torch.float64 else x.float()


class Backbone(nn.Module):
    """The modules under the names that the backbone's own library gives them."""

    def __init__(self, shape):
        super().__init__()
        block = MemoryLayer if shape.armt else LlamaBlock if shape.llama else Gpt2Block
        layers = nn.ModuleList(block(shape) for _ in range(shape.layers))
        table = nn.Embedding(shape.vocab, shape.width)
        if shape.llama:
            self.model = nn.ModuleDict({"embed_tokens": table, "layers": layers,
                                        "norm": nn.RMSNorm(shape.width, eps=shape.eps)})
        else:
            self.transformer = nn.ModuleDict({"wte": table, "wpe": nn.Embedding(shape.table, shape.width), "h": layers,
                                              "ln_f": nn.LayerNorm(shape.width, eps=shape.eps)})
        if not shape.tied:
            self.lm_head = nn.Linear(shape.width, shape.vocab, bias=False)


class MemoryCell(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.memory = nn.Parameter(torch.empty(shape.mem_tokens, shape.width))
        self.model = Backbone(shape)


class Reading:
    """What is kept of a text: the memory after its closed segments, and keys and values of the open one's rows."""

    def __init__(self, layers):
        self.tokens = 0                          # read in all
        self.open = 0                            # of them in the open segment, 1 … N once something was read
        self.caches = [{} for _ in range(layers)]
        self.memory: list = [None] * layers      # ARMT: (A, z) of each layer
        self.carried: Optional[torch.Tensor] = None  # RMT: the memory rows (B, M, D) that enter the next segment

    def rows(self):
        return self.caches[0]["k"].shape[2] if self.caches[0] else 0


@dataclass
class MemoryOutput(ModelOutput):
    loss: Optional[torch.Tensor] = None
    logits: Optional[torch.Tensor] = None
    reading: Any = None  # with use_cache: goes on where the ids ended


class MemoryForCausalLM(PreTrainedModel, GenerationMixin):
    base_model_prefix = "memory_cell"
    _supports_sdpa = True
    _no_split_modules = ["MemoryLayer", "LlamaBlock", "Gpt2Block"]

    def __init__(self, config):
        super().__init__(config)
        self.shape = Shape(config)
        self.memory_cell = MemoryCell(self.shape)
        self.frequencies = None
        self.post_init()

    def parts(self):
        """Table, position table, layers, last norm."""
        m = self.memory_cell.model
        if self.shape.llama:
            return m.model["embed_tokens"], None, m.model["layers"], m.model["norm"]
        return m.transformer["wte"], m.transformer["wpe"], m.transformer["h"], m.transformer["ln_f"]

    def get_input_embeddings(self):
        return self.parts()[0]

    def get_output_embeddings(self):
        return getattr(self.memory_cell.model, "lm_head", None)

    def _init_weights(self, module):
        deviation = getattr(self.config, "initializer_range", 0.02)
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=deviation)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, MemoryCell):
            nn.init.normal_(module.memory, std=deviation)
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            nn.init.ones_(module.weight)

    def lengths(self, n):
        """Of the segments that n tokens are cut into."""
        size, count = self.shape.segment, -(-n // self.shape.segment)
        if self.shape.alignment == "right" and n > 0:
            return [n - (count - 1) * size] + [size] * (count - 1)
        if self.shape.alignment == "center":
            return [n // count + (1 if i < n % count else 0) for i in range(count)]
        return [min(size, n - i * size) for i in range(count)]

    def run(self, x, reading):
        """Rows x (B, T, D) through the layers, behind those that the open segment has -> every layer's output."""
        first, rotary = reading.rows(), None
        if self.shape.llama:
            if self.frequencies is None:
                self.frequencies = rotary_frequencies(self.shape)
            angle = torch.arange(first, first + x.shape[1], dtype=torch.float64)[:, None] * self.frequencies
            angle = torch.cat([angle, angle], -1)
            rotary = tuple(t.to(x.device, x.dtype) for t in (angle.cos(), angle.sin()))
        outputs = []
        for l, layer in enumerate(self.parts()[2]):
            memory = (reading.memory[l],) if self.shape.armt else ()
            x = layer(x, rotary, reading.caches[l], *memory)
            outputs.append(x)
        return outputs

    def with_positions(self, x, first):
        table = self.parts()[1]
        if table is None:
            return x
        if first + x.shape[1] > table.num_embeddings:
            raise ValueError(f"a segment of more than {table.num_embeddings} rows, which is all the table of positions has")
        return x + table(torch.arange(first, first + x.shape[1], device=x.device))

    def memory_rows(self, reading, batch):
        """The rows that a segment begins (RMT) and ends with."""
        rows = self.memory_cell.memory.expand(batch, -1, -1) if reading.carried is None else reading.carried
        table = self.parts()[1]
        at = reading.rows() if table is None or not self.shape.armt else table.num_embeddings - self.shape.mem_tokens
        return self.with_positions(rows, at)

    def read(self, ids, reading):
        """The next tokens of the open segment -> hidden rows (B, T, D), before the last norm."""
        first, M = reading.rows(), self.shape.mem_tokens
        before = 0 if self.shape.armt or first > 0 else M
        x = self.with_positions(self.parts()[0](ids), first + before)
        if before:
            x = torch.cat([self.memory_rows(reading, ids.shape[0]), x], 1)
        hidden = self.run(x, reading)[-1][:, before:]
        reading.open += ids.shape[1]
        reading.tokens += ids.shape[1]
        return hidden

    def close(self, reading, batch):
        """Ends the open segment: its memory rows, the write, and nothing in the next one yet."""
        outputs = self.run(self.memory_rows(reading, batch), reading)
        _, _, layers, norm = self.parts()
        if self.shape.armt:
            reading.memory = [layer.write(m, old) for layer, m, old in zip(layers, outputs, reading.memory)]
        else:
            reading.carried = norm(outputs[-1])
        reading.caches = [{} for _ in reading.caches]
        reading.open = 0

    def forward(self, input_ids, reading=None, labels=None, use_cache=None, logits_to_keep=0, attention_mask=None,
                return_dict=None, **kwargs):
        """Logits (B, n, V) of ids (B, n); with `reading`, of ids behind those that it has read.

        use_cache=True gives a reading back. Without, segments are cut as the config's segment_alignment says; with one,
        always from the left, since where a text will end is not known.
        """
        if attention_mask is not None and not bool((attention_mask != 0).all()):
            raise ValueError("padding is not supported: give texts of one length, or one text at a time")
        batch, n = input_ids.shape
        going_on = reading is not None or bool(use_cache)
        if reading is None:
            reading = Reading(self.shape.layers)
        hidden, at = [], 0
        sizes = None if going_on else self.lengths(n)
        while at < n:
            if reading.open == self.shape.segment or (sizes is not None and at > 0):
                self.close(reading, batch)
            take = min(self.shape.segment - reading.open, n - at) if sizes is None else sizes.pop(0)
            hidden.append(self.read(input_ids[:, at:at + take], reading))
            at += take
        rows = torch.cat(hidden, 1)
        if isinstance(logits_to_keep, int) and logits_to_keep > 0:
            rows = rows[:, -logits_to_keep:]
        table, _, _, norm = self.parts()
        head = self.get_output_embeddings()
        logits = F.linear(norm(rows), table.weight if head is None else head.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(wide(logits[:, :-1]).flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        out = MemoryOutput(loss=loss, logits=logits, reading=reading if going_on else None)
        return out.to_tuple() if return_dict is False else out

    def generate(self, *args, **kwargs):
        config = kwargs.get("generation_config") or self.generation_config
        beams = kwargs.get("num_beams", getattr(config, "num_beams", 1))
        if beams is not None and beams > 1:
            raise ValueError(f"num_beams is {beams}: beams are not supported, expected 1")
        return super().generate(*args, **kwargs)

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False  # the reading is the cache

    def prepare_inputs_for_generation(self, input_ids, reading=None, use_cache=True, attention_mask=None, **kwargs):
        if reading is None or use_cache is False:
            reading = Reading(self.shape.layers)
        return {"input_ids": input_ids[:, reading.tokens:], "reading": reading, "attention_mask": attention_mask,
                "logits_to_keep": kwargs.get("logits_to_keep") or 0}

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, **kwargs)
        model_kwargs["reading"] = outputs.get("reading")
        return model_kwargs


class ArmtForCausalLM(MemoryForCausalLM):
    config_class = ArmtConfig


class RmtForCausalLM(MemoryForCausalLM):
    config_class = RmtConfig
