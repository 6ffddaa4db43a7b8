#!/usr/bin/env python3
"""Compares `wavetape gptscore` with GPTScore as published, computed by PyTorch, transformers and sacremoses.

    python3 tests/bench/compare_gptscore.py --program build/release/wavetape

Makes a small random model of each of the families GPT-2 and Llama, the latter with a token that begins every text, and
answers of two systems: short and long ones, several references, empty texts, line breaks, other scripts. Every figure of
scores.json must be the library's to --worst (in f64 1e-9; of Llama 1e-4, whose rotary angles transformers computes in
f32 whatever is asked for), with the first label of a target kept and dropped, with texts longer than --max-tokens, and in
batches of several sizes. --model DIR takes a model of one's own instead (gpt2-medium, say, with --dtype f32). Needs
torch, transformers and sacremoses; exit code 1 where anything differs.
"""
import argparse, json, os, random, subprocess, sys, tempfile

import torch
import transformers
from sacremoses import MosesDetokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

transformers.utils.logging.disable_progress_bar()
SOURCE = os.path.join(os.path.dirname(__file__), "../..")
INSTRUCTIONS = {"quality": " Say this again: well and clearly :", "order": "Put it another way, in order.", "none": ""}
WORDS = ("the state of each chunk is passed on to the next one , and what it holds decays while the model reads ( slowly ) "
         "; it 's \" not \" kept , $ 5 & 12 % of n't K\u00f6ln \u4f60\u597d \u0440\u0435\u043a\u0430 \U0001f642 Mary 's office .").split()
DETOKENIZER = MosesDetokenizer(lang="en")


def random_text(rng, words):
    text = " ".join(rng.choice(WORDS) for _ in range(words))
    return text.replace(" of ", "\n", 1) if rng.random() < 0.3 else text


def make_lines(rng, system):
    lines = []
    for i in range(8):
        words = rng.choice([1, 3, 12, 40])
        reference = [random_text(rng, rng.choice([2, 12, 40])) for _ in range(rng.choice([1, 1, 3]))]
        lines.append({"id": i, "system": system, "source": random_text(rng, 10) + rng.choice(["", "\n"]),
                      "hypothesis": random_text(rng, words), "reference": reference if len(reference) > 1 else reference[0]})
    lines.append({"system": system, "hypothesis": random_text(rng, 300), "reference": random_text(rng, 40)})
    lines.append({"system": system, "hypothesis": random_text(rng, 40), "reference": random_text(rng, 500)})
    lines.append({"system": system, "hypothesis": random_text(rng, 700), "reference": random_text(rng, 700)})
    lines.append({"system": system, "hypothesis": " \n ", "reference": "empty here"})
    lines.append({"system": system, "hypothesis": "not here", "reference": ["", "but there"]})
    return lines


def make_model(family, folder):
    """A random model, and a tokenizer that for Llama puts a token before every text."""
    with open(os.path.join(SOURCE, "data/tokenizer/tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    end = tokenizer["added_tokens"][0]
    vocabulary = max(max(tokenizer["model"]["vocab"].values()), *(t["id"] for t in tokenizer["added_tokens"])) + 1
    if family == "llama":
        first = {"id": end["content"], "ids": [end["id"]], "tokens": [end["content"]]}
        a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": end["content"], "type_id": 0}}, a],
            "pair": [a, b], "special_tokens": {end["content"]: first}}
    torch.manual_seed(1)
    if family == "gpt2":
        config = GPT2Config(vocab_size=vocabulary, n_positions=1024, n_embd=48, n_layer=3, n_head=4,
                            initializer_range=0.3, bos_token_id=end["id"], eos_token_id=end["id"])
    else:
        config = LlamaConfig(vocab_size=vocabulary, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
                             num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, bos_token_id=end["id"],
                             eos_token_id=end["id"])
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tokenizer, file)
    return PreTrainedTokenizerFast(tokenizer_file=path, eos_token=end["content"])


class Published:
    """The scores as GPTScore's code computes them; where a tokenizer begins every text with a token, only the text that
    is read begins so."""

    def __init__(self, model, tokenizer, longest, drops):
        self.model, self.tokenizer, self.longest, self.drops = model, tokenizer, longest, drops
        self.begins = tokenizer.encode("") if len(tokenizer.encode("")) == 1 else []

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def loss(self, ids, labels):
        """labels[i]: of ids[i], or -100."""
        if all(label < 0 for label in labels[1:]):
            return None
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, :-1].double()
        return torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:])).item()

    def score(self, source, target):
        reduced = self.encode(source)[1:-1]
        excess = len(reduced) + len(self.encode(target)[1:-1]) - self.longest
        if excess > 0:
            reduced = reduced[:len(reduced) - excess]
            source = self.tokenizer.decode(reduced[1:-1], clean_up_tokenization_spaces=False)
        ids = (self.begins + self.encode(source + " In other words , " + target))[:self.longest]
        labels = self.encode(target)[1 if self.drops else 0:][:self.longest][-len(ids):]
        loss = self.loss(ids, [-100] * (len(ids) - len(labels)) + labels)
        return None if loss is None else -loss

    @staticmethod
    def text(text):
        text = DETOKENIZER.detokenize(text.replace("\n", " ").split(" "))
        return text if not text.strip() or text.strip()[-1] == "." else text.strip() + " ."

    def pair(self, sentence, line):
        before = sentence.strip().replace(":", ". ") + "\n" if sentence else ""
        hypothesis, references = self.text(line["hypothesis"]), line["reference"]
        all_scores = []
        for reference in map(self.text, references if isinstance(references, list) else [references]):
            if hypothesis and reference:
                there, back = self.score(before + reference, hypothesis), self.score(before + hypothesis, reference)
                if there is not None and back is not None:
                    all_scores.append((there, back, (there + back) / 2, there * back / (there + back)))
        return [max(column) for column in zip(*all_scores)] or None

    def reference_nll(self, line):
        values = []
        references, source = line["reference"], line.get("source", "")
        for reference in references if isinstance(references, list) else [references]:
            if source and reference.strip():
                joint = "" if source[-1].isspace() or reference[0].isspace() else " "
                given, labels = self.begins + self.encode(source), self.encode(joint + reference)
                values.append(self.loss(given + labels, [-100] * len(given) + labels))
        return min(values, default=None)


def compare(options, folder, path, model, tokenizer, inputs, longest, drops, batch):
    """`path`: of the model; -> whether anything differs."""
    out = os.path.join(folder, "out")
    words = [options.program, "gptscore", "--model", path, "--input", *inputs, "--instructions",
             os.path.join(folder, "aspects.json"), "--output", out, "--dtype", options.dtype, "--max-tokens", str(longest),
             "--batch-size", str(batch), "--first-label", "drop" if drops else "keep"]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\n{result.stderr.strip()}")
    with open(os.path.join(out, "scores.json"), encoding="utf-8") as file:
        ours = json.load(file)["scores"]
    lines = []
    for name in inputs:
        with open(name, encoding="utf-8") as file:
            lines += map(json.loads, file)
    assert len(ours) == len(lines)
    published = Published(model, tokenizer, longest, drops)
    worst, figures, odd = 0.0, 0, 0
    for line, our in zip(lines, ours):
        for aspect, sentence in INSTRUCTIONS.items():
            theirs, here = published.pair(sentence, line), our["aspects"][aspect]
            odd += (theirs is None) != (here is None)
            if theirs and here:
                here = [here[part] for part in ("ref_hypo", "hypo_ref", "avg_f", "harm_f")]
                worst = max([worst, *(abs(a - b) for a, b in zip(theirs, here))])
                figures += 4
        theirs, here = published.reference_nll(line), our["reference_nll"]
        odd += (theirs is None) != (here is None)
        if theirs is not None and here is not None:
            worst, figures = max(worst, abs(theirs - here)), figures + 1
    print(f"{model.config.model_type}, {longest} tokens at most, first label {'dropped' if drops else 'kept'}, batches of "
          f"{batch}: {figures} figures, largest difference {worst:.2e}; {odd} are missing on one side")
    exact = options.dtype == "f64" and model.config.model_type == "gpt2"
    return worst > (options.worst or (1e-9 if exact else 1e-4)) or odd > 0 or figures == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/wavetape")
    parser.add_argument("--model", help="a model folder instead of random ones")
    parser.add_argument("--dtype", default="f64", choices=["f32", "f64"], help="of both (default: %(default)s)")
    parser.add_argument("--worst", type=float, help="difference that fails")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dtype = torch.float64 if options.dtype == "f64" else torch.float32
    failures = 0
    for family in [None] if options.model else ["gpt2", "llama"]:
        with tempfile.TemporaryDirectory() as folder:
            path = options.model or os.path.join(folder, "model")
            tokenizer = AutoTokenizer.from_pretrained(path) if options.model else make_model(family, path)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()
            rng = random.Random(options.seed)
            inputs = []
            for system in ["first", "second"]:
                inputs.append(os.path.join(folder, system + ".jsonl"))
                with open(inputs[-1], "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in make_lines(rng, system))
            with open(os.path.join(folder, "aspects.json"), "w", encoding="utf-8") as file:
                json.dump(INSTRUCTIONS, file)
            for longest, drops, batch in [(1000, False, 8), (1000, True, 3), (60, False, 5), (7, True, 1), (2, False, 4)]:
                failures += compare(options, folder, path, model, tokenizer, inputs, longest, drops, batch)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
