"""Good inputs of every kind, made by the program itself and from the fixtures."""
import json
import random
import shutil
import struct
from pathlib import Path

import mutations

CONFIG = """seed: {weights: 1, data: 1}
run:
  dir: run
  device: cpu
model:
  type: llama
  vocab_size: 2050
  hidden_size: 8
  intermediate_size: 16
  num_layers: 2
  num_heads: 2
  tie_word_embeddings: true
  armt:
    segment_size: 32
    num_mem_tokens: 2
    d_mem: 4
data:
  task: qa1
  babi: babi
  books: books.h5
  tokenizer: tokenizer.json
train:
  batch_size: 2
  log_every: 1
  validate_every: 2
  validation_samples: 4
  checkpoint_every: 2
  keep_checkpoints: 2
  stages:
    - name: first
      segments: 1
      steps: 2
      background_ratio: 0
    - name: second
      segments: [2, 3]
      steps: 4
      lr_schedule: cosine
eval:
  tasks: qa1
  lengths: [1x]
  samples: 2
  max_new_tokens: 2
"""

LORA_CONFIG = CONFIG.replace("dir: run", "dir: lora_run").replace(
    "  armt:", "  lora: {rank: 2, alpha: 4, targets: [q_proj]}\n  armt:")

# Two kinds of layers.
HYBRID_CONFIG = CONFIG.replace("dir: run", "dir: hybrid_run").replace("type: llama", "type: hybrid").replace(
    "  num_heads: 2\n",
    "  mixers:\n    - {name: wide, num_heads: 2}\n    - {name: narrow, num_heads: 4, num_kv_heads: 2, layers: [1]}\n")


def book(seed):
    """Sentences enough to hide facts in."""
    rng = random.Random(seed)
    words = "and the light was divided from darkness upon the face of waters which he called good".split()
    return "\n".join(
        " ".join(rng.choice(words) for _ in range(rng.randrange(4, 14))).capitalize() + "." for _ in range(400)
    ) + "\n"


def make_samples(program, source, folder):
    """Fills `folder`: tokenizer.json, books/, books.h5, babi/, config.yaml, run/, model/, sets, a state, results …"""
    folder = Path(folder)
    fixtures = Path(source) / "tests/fixtures"
    shutil.copy(Path(source) / "data/tokenizer/tokenizer.json", folder)
    shutil.copy(Path(source) / "data/prompts.yaml", folder)
    (folder / "books").mkdir()
    for name in ["first", "second", "third"]:
        (folder / "books" / f"{name}.txt").write_text(book(name))
    (folder / "babi").mkdir()
    for split, seed in [("train", 1), ("test", 2)]:
        file = f"babi/qa1_single-supporting-fact_{split}.txt"
        program.must(["data", "babi", "--task", "qa1", "--stories", "30", "--seed", str(seed), "--output", file], folder)
    books = ["--tokenizer", "tokenizer.json", "--books", "books.h5", "--length", "300", "--samples", "3"]
    program.must(["data", "books", "--input", "books", "--tokenizer", "tokenizer.json", "--output", "books.h5"], folder)
    for name in ["qa1_300.json", "qa1_300.h5"]:
        program.must(["data", "babilong", "--task", "qa1", *books, "--output", name], folder)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "lora.yaml").write_text(LORA_CONFIG)
    program.must(["train", "config.yaml"], folder)
    program.must(["train", "lora.yaml", "--no-eval"], folder)
    program.must(["export", "run", "model"], folder)
    (folder / "hybrid.yaml").write_text(HYBRID_CONFIG)
    program.must(["train", "hybrid.yaml", "--no-eval", "--max-steps", "2"], folder)
    program.must(["export", "hybrid_run", "hybrid"], folder)
    shutil.copytree(folder / "model", folder / "chat")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for i, name in enumerate(["<|im_start|>", "<|im_end|>"]):
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 2048 + i, "content": name})
    (folder / "chat/tokenizer.json").write_text(json.dumps(tokenizer))
    chat = "{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content }}<|im_end|>{% endfor %}"
    templates = [{"name": "default", "template": chat}, {"name": "tools", "template": "x"}]
    (folder / "chat/tokenizer_config.json").write_text(json.dumps({"model_max_length": 99, "chat_template": templates}))
    shutil.copytree(folder / "chat", folder / "chat_jinja")
    (folder / "chat_jinja/tokenizer_config.json").unlink()
    (folder / "chat_jinja/chat_template.jinja").write_text(
        "{%- for m in messages %}\n{{ '<|im_start|>' + m['role'] }}\n{{ m.content | trim }}<|im_end|>\n{%- endfor %}\n"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    shutil.copytree(folder / "model", folder / "ends")
    (folder / "ends/generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [0, 5]}))
    # Books that were tokenised before.
    program.must(["train", "config.yaml", "--dry-run", "run.dir=none", "data.books=books"], folder)
    (folder / "cache").mkdir()
    shutil.copy(next(Path(program.cache.name).glob("books-*.tokens")), folder / "cache")
    program.must(["convert", "model", "published", "--names", "layers"], folder)
    program.must(["generate", "model", "--input", "books/first.txt", "--save-state", "book.state"], folder)
    (folder / "prompts.jsonl").write_text(
        '" Where is Mary?"\n{"prompt": " Where is John?", "id": 7, "more": [1, {"a": null}]}\n')
    (folder / "answers.jsonl").write_text(
        '{"source": "Where is Mary?", "hypothesis": "in the office", "reference": "She is in the office ."}\n'
        '{"id": 7, "system": "other", "source": "Who?", "hypothesis": "it \'s John", "reference": ["Mary", "John"]}\n')
    (folder / "aspects.yaml").write_text("quality: 'Say it well:'\nplain: Say it again.\n")
    program.must(["eval", "model", "--set", "qa1_300.json", "--layout", "official", "--output", "results"], folder)
    ids = struct.pack("<12q", *range(5, 17)) + bytes([0, 0, 1, 1, 0, 1] * 2)
    header = {"input_ids": {"dtype": "I64", "shape": [2, 6], "data_offsets": [0, 96]},
              "labels_mask": {"dtype": "U8", "shape": [2, 6], "data_offsets": [96, 108]}}
    (folder / "ids.safetensors").write_bytes(mutations.write_safetensors(header, ids))
    for name in ["llama_sharded", "lora_llama", "gpt2", "mamba2", "bamba_sharded"]:
        shutil.copytree(fixtures / "import" / name, folder / name)
    shutil.copytree(fixtures / "import/peft_llama", folder / "peft")
    (folder / "lora_llama/adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 3, "lora_alpha": 12, "use_rslora": False, "target_modules": ["q_proj"]}))
    # Small tokenizers, of the two kinds there are.
    shutil.copy(fixtures / "tokenizers/smollm.json", folder / "small.json")
    shutil.copy(fixtures / "tokenizers/llama2.json", folder / "sentencepiece.json")
    return folder


def crc32c(data, table=[]):
    """As checkpoints' manifests have it (Castagnoli)."""
    if not table:
        for i in range(256):
            for _ in range(8):
                i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
            table.append(i)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def sign_checkpoint(checkpoint, file):
    """Writes a damaged file's length and checksum into the manifest, so that its reader has to find the damage."""
    path = checkpoint / file
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    data = path.read_bytes() if path.is_file() else b""
    manifest["files"][file] = {"bytes": len(data), "crc32c": crc32c(data)}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
