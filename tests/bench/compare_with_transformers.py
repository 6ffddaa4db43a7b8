#!/usr/bin/env python3
"""Compares a Hugging Face folder as wavetape computes it with what `transformers` makes of it: token ids and logits.

    python3 tests/bench/compare_with_transformers.py models/smollm2 DIR/books --program build/release/wavetape

Passages are cut from the middle of each text file; both programs run in f32, `transformers` on the CPU. For each
passage it prints the largest and mean difference of the logits, the share of positions with the same most likely next
token, and both losses. With --whole-files it compares the ids of each whole file, too.

    python3 tests/bench/compare_with_transformers.py exported --program build/release/wavetape

A model with memory is loaded with the code that lies beside its weights (trust_remote_code) and needs no texts: random
ids over several segments, in f64, must give the same logits and the same greedy continuation past segment ends, one
text at a time and two together. Needs torch, transformers and safetensors.
"""
import argparse, json, os, subprocess, sys, tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def text_files(paths):
    for path in paths:
        if os.path.isdir(path):
            yield from sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".txt"))
        else:
            yield path


def run(program, *arguments):
    result = subprocess.run([program, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{program} {' '.join(arguments)}\n{result.stderr.strip()}")
    return result.stdout


def our_ids(options, path):
    return [int(word) for word in run(options.program, "tokenize", options.model, "--file", path).split()]


def loss_of(logits, ids):
    return torch.nn.functional.cross_entropy(logits[0, :-1].double(), ids[0, 1:]).item()


def compare_memory(options, memory):
    """Logits and greedy tokens of a model with memory -> how many comparisons fail."""
    model = AutoModelForCausalLM.from_pretrained(options.model, trust_remote_code=True, dtype=torch.float64).eval()
    model.generation_config.eos_token_id = None  # all continuations equally long
    size, vocabulary, failures = memory["segment_size"], model.config.vocab_size, 0
    generator = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (os.path.join(folder, name) for name in ("in.safetensors", "out.safetensors"))
        for tokens in (1, size // 2 + 1, size, 2 * size, 3 * size + 1):
            ids = torch.randint(vocabulary, (2, tokens), generator=generator)
            save_file({"input_ids": ids}, inputs)
            run(options.program, "forward", options.model, "--input", inputs, "--output", outputs, "--dtype", "f64")
            ours = load_file(outputs)["logits"].double()
            with torch.no_grad():
                theirs = model(ids).logits
                together = model.generate(ids, max_new_tokens=size + 3, do_sample=False)
            difference = (theirs - ours.reshape(theirs.shape)).abs().max().item()
            same = 0
            for row, both in zip(ids, together):
                words = run(options.program, "generate", options.model, "--input-ids", ",".join(map(str, row.tolist())),
                            "--max-new-tokens", str(size + 3), "--dtype", "f64")
                continued = list(map(int, words.strip().split(",")))
                alone = model.generate(row[None], max_new_tokens=size + 3, do_sample=False)
                same += continued == alone[0, tokens:].tolist() == both[tokens:].tolist()
            failures += difference > options.worst or same != 2
            print(f"{tokens} tokens in segments of {size}: largest difference {difference:.2e} of values up to "
                  f"{theirs.abs().max():.2f}; {same} of 2 greedy continuations over {size + 3} tokens the same")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hugging Face folder of a plain model, or a folder of ours with memory")
    parser.add_argument("texts", nargs="*", help="text files, or folders of .txt; for a model with memory none")
    parser.add_argument("--program", default="build/release/wavetape")
    parser.add_argument("--device", default="cpu", help="of wavetape: cpu or cuda (default: %(default)s)")
    parser.add_argument("--files", type=int, default=4, help="text files to take (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=600, help="of a passage (default: %(default)s)")
    parser.add_argument("--whole-files", action="store_true", help="compare the ids of whole files, too")
    parser.add_argument("--worst", type=float, help="difference that fails (default: 1e-3; with memory, in f64, 1e-6)")
    options = parser.parse_args()
    with open(os.path.join(options.model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    if config["model_type"] in ("armt", "rmt"):
        options.worst = options.worst or 1e-6
        return 1 if compare_memory(options, config[config["model_type"]]) else 0
    if not options.texts:
        parser.error("a plain model is compared on texts: name some")
    options.worst = options.worst or 1e-3
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        source, inputs, outputs = (os.path.join(folder, name) for name in ("text", "in.safetensors", "out.safetensors"))
        for path in list(text_files(options.texts))[:options.files]:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
            passages = [(path, text)] if options.whole_files else []
            middle = len(text) // 2
            with open(source, "w", encoding="utf-8", newline="") as file:
                file.write(text[middle:middle + 6 * options.tokens])
            passages.append((source, text[middle:middle + 6 * options.tokens]))
            for where, passage in passages:
                theirs, ours = tokenizer(passage, add_special_tokens=False).input_ids, our_ids(options, where)
                differences = sum(a != b for a, b in zip(theirs, ours)) + abs(len(theirs) - len(ours))
                failures += differences > 0
                print(f"{os.path.basename(path)}: {len(theirs)} ids, {differences} differ")
            ids = torch.tensor([theirs[:options.tokens]])
            save_file({"input_ids": ids}, inputs)
            run(options.program, "forward", options.model, "--input", inputs, "--output", outputs, "--device",
                options.device)
            with torch.no_grad():
                expected = model(ids).logits
            ours = load_file(outputs)["logits"].reshape(expected.shape)
            difference = (expected - ours).abs()
            same = (expected.argmax(-1) == ours.argmax(-1)).float().mean().item()
            failures += difference.max().item() > options.worst
            print(f"  logits of {ids.shape[1]} positions: largest difference {difference.max():.2e}, mean "
                  f"{difference.mean():.2e}, of values up to {expected.abs().max():.1f}; most likely token the same in "
                  f"{100 * same:.2f} %; loss {loss_of(expected, ids):.6f} and {loss_of(ours, ids):.6f}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
