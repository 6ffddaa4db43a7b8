#!/usr/bin/env python3
"""Compares a Hugging Face folder as wavetape computes it with what `transformers` makes of it: token ids and logits.

    python3 tests/bench/compare_with_transformers.py models/smollm2 DIR/books --program build/release/wavetape

Passages are cut from the middle of each text file; both programs run in f32, `transformers` on the CPU. For each
passage it prints the largest and mean difference of the logits, the share of positions with the same most likely next
token, and both losses. With --whole-files it compares the ids of each whole file, too. Needs torch, transformers and
safetensors.
"""
import argparse, os, subprocess, sys, tempfile

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hugging Face folder of a plain model")
    parser.add_argument("texts", nargs="+", help="text files, or folders of .txt")
    parser.add_argument("--program", default="build/release/wavetape")
    parser.add_argument("--device", default="cpu", help="of wavetape: cpu or cuda (default: %(default)s)")
    parser.add_argument("--files", type=int, default=4, help="text files to take (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=600, help="of a passage (default: %(default)s)")
    parser.add_argument("--whole-files", action="store_true", help="compare the ids of whole files, too")
    parser.add_argument("--worst", type=float, default=1e-3, help="difference that fails (default: %(default)s)")
    options = parser.parse_args()
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
