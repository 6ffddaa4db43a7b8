"""Every command that reads a file, on damaged ones: see harness.py for what is asked of it.

    python3 tests/robustness/readers.py --program build/release/wavetape [--seed N] [--scale X] [--only NAME …]
"""
import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import harness
import mutations as m
import samples
from harness import Subject

# A failing command may have said something on standard output before; a run that never began leaves its lock.
RUN_LEFT = (r"run", r"run/\.lock", r"run/checkpoints")


class Bench:
    """Makes the small folders that subjects run in."""

    def __init__(self, good, root, scale, seed):
        self.good, self.root, self.scale, self.seed = good, root, scale, seed
        self.subjects = []

    def count(self, number):
        return max(2, round(number * self.scale))

    def rng(self, name):
        return m.generator(self.seed, name)

    def folder(self, name, files):
        """`files`: of the good ones, "from" or "from:to"; and an earlier output."""
        folder = self.root / name
        folder.mkdir()
        for entry in files:
            source, _, target = entry.partition(":")
            source, target = self.good / source, folder / (target or entry)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        (folder / "out").mkdir()
        for name in ["earlier.json", "earlier.h5", "earlier.csv", "earlier.svg", "earlier.html", "earlier.safetensors"]:
            (folder / "out" / name).write_text("what an earlier run has left\n")
        return folder

    def add(self, name, arguments, files, file, kind, number, may_pass=(), **more):
        """`kind`: which damages; `number`: about how many of its own kind, before scaling. `may_pass`: damages that are
        none to this command."""
        folder = self.folder(name.replace(" ", "_").replace("/", "_"), files)
        damages = [m.Mutation(d.name, d.data, d.must_fail and d.name not in may_pass)
                   for d in self.damages(name, folder / file, kind, number)]
        self.subjects.append(Subject(name, arguments, folder, file, damages, **more))

    def damages(self, name, path, kind, number):
        rng = self.rng(name)
        data = path.read_bytes()
        n = self.count(number)
        few = max(2, n // 4)
        free_cuts = m.cuts(data, rng, few, must_fail=False)[1:]
        if kind == "text":  # nearly any text will do
            return m.absent() + m.splices(data, rng, few) + m.flips(data, rng, few) + free_cuts
        if kind == "signed":  # checked against a manifest: nothing passes
            return m.absent() + m.cuts(data, rng, few) + m.flips(data, rng, n, must_fail=True)
        common = m.absent() + m.other_files(rng) + m.splices(data, rng, few // 2 + 1)
        if kind == "json":
            return (common + m.nested() + m.cuts(data, rng, few) + m.flips(data, rng, few) +
                    m.json_values(data.decode(), rng, n))
        if kind == "lines":  # of JSON; each stands for itself
            first = data.split(b"\n")[0] + b"\n"
            second = m.json_values(data.decode().split("\n")[1], rng, n)
            values = [m.Mutation(d.name, first + d.data + b"\n", d.must_fail) for d in second]
            return common + m.nested() + free_cuts + values
        if kind == "yaml":
            return (common + m.nested()[1:2] + free_cuts + m.flips(data, rng, few) +
                    m.yaml_values(data.decode(), rng, n))
        if kind == "csv":
            return common + m.csv_parts(data.decode(), rng) + free_cuts + m.flips(data, rng, few)
        if kind == "hdf5":
            return common + m.cuts(data, rng, few) + m.flips(data, rng, n, head=4096)
        if kind == "safetensors":
            return common + m.cuts(data, rng, few) + m.flips(data, rng, few) + m.safetensors_parts(data, rng, n)
        raise ValueError(kind)


def add_model_readers(b):
    model = ["model"]
    # What is amiss with one of a model's files may show in another, the index naming what is not there.
    parts = {"names": ["llama_sharded"]}
    # Where configuration and weights contradict each other, either may be named.
    either = {"names": ["config.json", ".safetensors", ".index.json"]}
    generate = ["generate", "model", "--prompt", " Where is Mary?", "--max-new-tokens", "2"]
    b.add("generate config.json", generate, model, "model/config.json", "json", 60, **either)
    b.add("generate model.safetensors", generate, model, "model/model.safetensors", "safetensors", 40)
    b.add("generate hybrid config.json", ["generate", "hybrid", *generate[2:]], ["hybrid"], "hybrid/config.json", "json",
          60, **either)
    b.add("generate tokenizer.json", generate, model, "model/tokenizer.json", "json", 16)
    ids = ["generate", "llama_sharded", "--input-ids", "1,2,3", "--max-new-tokens", "2"]
    b.add("generate index.json", ids, ["llama_sharded"], "llama_sharded/model.safetensors.index.json", "json", 16,
          **parts)
    b.add("generate part", ids, ["llama_sharded"], "llama_sharded/model-00002-of-00004.safetensors", "safetensors",
          12, **parts)
    goes_on = ["generate", "model", "--load-state", "book.state", "--prompt", " Where is Mary?", "--max-new-tokens", "2"]
    files = ["model", "book.state"]
    b.add("generate --load-state", goes_on, files, "book.state", "safetensors", 50)
    state = b.subjects[-1]
    state.damages += m.metadata_values((state.folder / "book.state").read_bytes(), b.rng("metadata"), b.count(30))
    b.add("generate --save-state", ["generate", "model", "--input", "text", "--save-state", "out/earlier.safetensors"],
          ["model", "books/first.txt:text"], "text", "text", 12)
    b.add("generate --prompts-file",
          ["generate", "model", "--prompts-file", "prompts.jsonl", "--output", "out/earlier.json",
           "--max-new-tokens", "2"],
          ["model", "prompts.jsonl"], "prompts.jsonl", "lines", 24)
    chat = ["generate", "chat", "--chat", "--prompt", "Where is Mary?", "--max-new-tokens", "2"]
    b.add("generate --chat", chat, ["chat"], "chat/tokenizer_config.json", "json", 16, may_pass=("missing", "a folder"))
    chat = ["generate", "chat_jinja", *chat[2:]]
    b.add("generate chat_template.jinja", chat, ["chat_jinja"], "chat_jinja/chat_template.jinja", "text", 40,
          names=["chat_jinja"])
    b.add("generate generation_config.json", ["generate", "ends", *generate[2:]], ["ends"], "ends/generation_config.json",
          "json", 30, may_pass=("missing",))
    forward = ["forward", "model", "--input", "ids.safetensors", "--output", "out/earlier.safetensors", "--backward"]
    b.add("forward --input", forward, ["model", "ids.safetensors"], "ids.safetensors", "safetensors", 40)
    b.add("export config.json", ["export", "run", "made"], ["single:run"], "run/config.json", "json", 16, **either)
    b.add("export weights", ["export", "run", "made"], ["single:run"], f"run/{CHECKPOINT}/weights.safetensors",
          "signed", 12)
    imports = ["import", "llama_sharded", "made", "--segment-size", "16", "--num-mem-tokens", "2", "--d-mem", "4"]
    b.add("import config.json", imports, ["llama_sharded"], "llama_sharded/config.json", "json", 60, **either)
    b.add("import index.json", imports, ["llama_sharded"], "llama_sharded/model.safetensors.index.json", "json", 20,
          **parts)
    b.add("import part", imports, ["llama_sharded"], "llama_sharded/model-00003-of-00004.safetensors", "safetensors",
          24, **parts)
    scan = ["generate", "mamba2", "--input-ids", "1,2,3", "--max-new-tokens", "2"]
    b.add("generate mamba2 config.json", scan, ["mamba2"], "mamba2/config.json", "json", 60, **either)
    scan = ["generate", "bamba_sharded", *scan[2:]]
    b.add("generate bamba config.json", scan, ["bamba_sharded"], "bamba_sharded/config.json", "json", 60, **either)
    gpt2 = ["import", "gpt2", "made", "--segment-size", "16", "--num-mem-tokens", "2", "--d-mem", "4"]
    b.add("import gpt2/config.json", gpt2, ["gpt2"], "gpt2/config.json", "json", 30, **either)
    b.add("import gpt2/model.safetensors", gpt2, ["gpt2"], "gpt2/model.safetensors", "safetensors", 20)
    convert = ["convert", "lora_llama", "made", "--segment-size", "16", "--nu", "2"]
    b.add("convert adapters", convert, ["lora_llama"], "lora_llama/model.safetensors", "safetensors", 40)
    b.add("convert adapter_config.json", convert, ["lora_llama"], "lora_llama/adapter_config.json", "json", 30,
          **either)
    b.add("convert config.json", convert, ["lora_llama"], "lora_llama/config.json", "json", 30, **either)
    adapters = ["convert", "peft/adapter", "made", "--base", "peft/base"]
    b.add("convert PEFT adapter_config.json", adapters, ["peft"], "peft/adapter/adapter_config.json", "json", 40,
          names=["peft/adapter", "adapter_config.json"])
    b.add("convert PEFT adapter_model.safetensors", adapters, ["peft"], "peft/adapter/adapter_model.safetensors",
          "safetensors", 40)
    b.add("convert back", ["convert", "published", "made"], ["published"], "published/model.safetensors",
          "safetensors", 20)


def add_training_readers(b):
    files = ["config.yaml", "babi", "books.h5", "tokenizer.json"]
    train = ["train", "config.yaml"]
    b.add("train config.yaml", [*train, "--dry-run"], files, "config.yaml", "yaml", 120,
          names=["config.yaml", "cannot open"])
    more = {"allowed": RUN_LEFT}
    # Books belong to the tokenizer that they were made with.
    tokenizers = ["tokenizer.json", "another tokenizer"]
    b.add("train babi", [*train, "--no-eval"], files, "babi/qa1_single-supporting-fact_train.txt", "text", 16,
          names=["qa1", "babi"], **more)
    b.add("train books.h5", [*train, "--no-eval"], files, "books.h5", "hdf5", 40, **more)
    b.add("train tokenizer.json", [*train, "--no-eval"], files, "tokenizer.json", "json", 16,
          names=tokenizers, **more)
    # A model of another vocabulary than the tokenizer's, and the like, is the configuration's mistake.
    start = [*files, "model"]
    wrap = ["train", "config.yaml", "--no-eval", "model={from: model}"]
    for file, kind in [("config.json", "json"), ("model.safetensors", "safetensors")]:
        b.add(f"train model.from {file}", wrap, start, f"model/{file}", kind, 16,
              names=["model", "config.yaml", "babi"], **more)
    resume = ["train", "config.yaml", "--no-eval", "--resume"]
    files.append("single:run")
    for file in ["weights.safetensors", "optimizer.safetensors", "state.json"]:
        b.add(f"resume {file}", resume, files, f"run/{CHECKPOINT}/{file}", "signed", 12, allowed=(r"run/\.lock",))
    b.add("resume manifest.json", resume, files, f"run/{CHECKPOINT}/manifest.json", "json", 16, names=[CHECKPOINT],
          allowed=(r"run/\.lock",))
    # Damage that the checksum does not show. A count of steps may be more than the configuration has.
    kinds = {"weights.safetensors": "safetensors", "optimizer.safetensors": "safetensors", "state.json": "json"}
    for file, kind in kinds.items():
        b.add(f"resume signed {file}", resume, files, f"run/{CHECKPOINT}/{file}", kind, 30, allowed=(r"run/\.lock",),
              names=[file, "config.yaml"] if file == "state.json" else None,
              prepare=lambda folder, file=file: samples.sign_checkpoint(folder / "run" / CHECKPOINT, file))
        b.subjects[-1].damages = [d for d in b.subjects[-1].damages if d.data != m.ENORMOUS]
    # Both are made again where they are missing; the mark of the best is set anew in any case.
    free = {"allowed": (r"run/\.lock", r"run/checkpoints/best"), "may_pass": ("missing",)}
    b.add("resume metrics.jsonl", resume, files, "run/metrics.jsonl", "text", 16, **free)
    b.add("resume best", resume, files, "run/checkpoints/best", "text", 8, **free)
    # What a run keeps of how it was started. Without its description the data are known by their paths, and without a
    # tokenizer of its own the run has the configuration's.
    b.add("resume config.yaml", resume, files, "run/config.yaml", "yaml", 40, names=["config.yaml", "run"],
          allowed=free["allowed"])
    for file, words in [("given.yaml", "yaml"), ("data.json", "json"), ("starts.jsonl", "lines")]:
        b.add(f"resume {file}", resume, files, f"run/{file}", "text", 16, names=[file, "config.yaml"],
              allowed=(*free["allowed"], r"run/(data\.json|given\.yaml|events\..*)"), may_pass=("missing",))
        text = (b.subjects[-1].folder / "run" / file).read_text()
        values = m.yaml_values(text, b.rng(file), b.count(24)) if words == "yaml" else m.json_values(
            text.split("\n")[0] if words == "lines" else text, b.rng(file), b.count(24))
        b.subjects[-1].damages += [m.Mutation(d.name, d.data, False) for d in values + m.nested()]
    b.add("resume tokenizer.json", resume, files, "run/tokenizer.json", "json", 16, names=["tokenizer.json"], **free)
    # What is no cache is made anew.
    tokens = next((b.good / "cache").iterdir()).name
    b.add("train token cache", [*train, "--dry-run", "data.books=books"],
          [*files[:2], "books", "tokenizer.json", "cache"], f"cache/{tokens}", "text", 24,
          before=("env", "WAVETAPE_CACHE=cache"), may_pass=("missing",))
    b.subjects[-1].damages = [d for d in b.subjects[-1].damages if d.data != m.FOLDER]
    b.add("resume lora base", ["train", "lora.yaml", "--no-eval", "--resume"],
          ["lora.yaml", *files[1:4], "lora_run"], "lora_run/checkpoints/base.safetensors",
          "signed", 8, allowed=(r"lora_run/\.lock",))


def add_evaluation_readers(b):
    model = ["model", "qa1_300.json", "qa1_300.h5", "prompts.yaml"]
    evaluate = ["eval", "model", "--max-new-tokens", "2", "--output", "results", "--plot", "out/earlier.svg"]
    left = {"allowed": ("results",)}
    b.add("eval set.json", [*evaluate, "--set", "qa1_300.json"], model, "qa1_300.json", "json", 24, **left)
    b.add("eval model.safetensors", [*evaluate, "--set", "qa1_300.json"], model, "model/model.safetensors",
          "safetensors", 16, **left)
    b.add("eval set.h5", [*evaluate, "--set", "qa1_300.h5"], model, "qa1_300.h5", "hdf5", 50, **left)
    b.add("eval prompts.yaml", [*evaluate, "--set", "qa1_300.json", "--prompts", "prompts.yaml"], model,
          "prompts.yaml", "yaml", 30, **left)
    run = ["single:run", "babi", "books.h5", "tokenizer.json"]
    # Without its config.yaml a run folder is a model folder.
    gone = {"names": ["config.yaml", "run"], "may_pass": ("missing", "a folder")}
    b.add("eval run config.yaml", ["eval", "run"], run, "run/config.yaml", "yaml", 40, **gone)
    b.add("eval run state.json", ["eval", "run"], run, f"run/{CHECKPOINT}/state.json", "signed", 6)
    b.add("eval --chat", ["eval", "chat", *evaluate[2:], "--set", "qa1_300.json", "--prompts", "prompts.yaml", "--chat"],
          ["chat", *model[1:]], "chat/tokenizer_config.json", "json", 16, may_pass=("missing", "a folder"), **left)
    b.add("score", ["score", "results", "--output", "out/earlier.csv", "--plot", "out/earlier.svg"], ["results"],
          f"results/{RESULTS}", "csv", 20, names=[RESULTS, "results"])
    gptscore = ["gptscore", "--model", "model", "--input", "answers.jsonl", "--instructions", "aspects.yaml", "--output",
                "results"]
    files = ["model", "answers.jsonl", "aspects.yaml"]
    b.add("gptscore --input", gptscore, files, "answers.jsonl", "lines", 30)
    b.add("gptscore --instructions", gptscore, files, "aspects.yaml", "yaml", 20)
    b.add("gptscore model.safetensors", gptscore, files, "model/model.safetensors", "safetensors", 12, **left)
    report = ["report", "run", "--output", "out/earlier.html"]
    # What a page cannot show it says on the page: only a folder that is no run is refused.
    for file in ["config.yaml", "metrics.jsonl", "eval.json", "answers.csv"]:
        b.add(f"report {file}", report, ["run"], f"run/{file}", "text", 24, names=["run"])
        b.subjects[-1].damages = [m.Mutation(d.name, d.data, False) for d in b.subjects[-1].damages + m.nested()]


def add_data_readers(b):
    tokenizer = ["tokenizer.json", "small.json", "sentencepiece.json"]
    for name in ["small.json", "sentencepiece.json"]:
        b.add(f"tokenize {name}", ["tokenize", name, "--text", "Mary  went to\n12,345 \u00e4\u20ac"], tokenizer,
              name, "json", 90)
    for name in ["vocab.json", "merges.txt"]:
        b.add(f"tokenize {name}", ["tokenize", "gpt2", "--text", "Mary went"], ["gpt2_files:gpt2"], f"gpt2/{name}",
              "json" if name == "vocab.json" else "text", 6, names=["vocab.json", "merges.txt", "gpt2"])
    b.add("tokenize --file", ["tokenize", "small.json", "--file", "text"], [*tokenizer, "books/first.txt:text"],
          "text", "text", 12)
    books = ["data", "books", "--input", "books", "--tokenizer", "tokenizer.json", "--output", "out/earlier.h5"]
    b.add("data books", books, ["books", "tokenizer.json"], "books/second.txt", "text", 24)
    kept = [d for d in b.subjects[-1].damages if d.data not in (None, m.FOLDER)]
    b.subjects[-1].damages = [*kept, m.Mutation("empty", b"", True)]
    make = ["data", "babilong", "--task", "qa1", "--babi", "babi", "--books", "books.h5", "--tokenizer", "tokenizer.json",
            "--length", "300", "--samples", "3", "--output", "out/earlier.json"]
    files = ["babi", "books.h5", "tokenizer.json"]
    b.add("data babilong babi", make, files, "babi/qa1_single-supporting-fact_test.txt", "text", 30, names=["qa1",
          "babi"])
    released = [*make[:2], "--released", *make[2:], "--length", "1k"]
    del released[released.index("300") - 1:released.index("300") + 1]
    b.add("data babilong --released", released, files, "babi/qa1_single-supporting-fact_test.txt", "text", 16,
          names=["qa1", "babi"])
    b.add("data babilong books", make, files, "books.h5", "hdf5", 20)
    b.add("data babilong tokenizer", make, files, "tokenizer.json", "json", 8, names=["tokenizer.json", "another tokenizer"])
    for name, kind in [("qa1_300.json", "json"), ("qa1_300.h5", "hdf5"), ("books.h5", "hdf5"), ("config.yaml", "yaml"),
                       ("ids.safetensors", "safetensors"), ("book.state", "safetensors"), ("small.json", "json")]:
        b.add(f"info {name}", ["info", name], [name], name, kind, 16, may_pass=("no tensors",))
    b.add("info run", ["info", "run"], ["run"], "run/config.yaml", "yaml", 12, names=["config.yaml", "run"],
          may_pass=("missing", "a folder"))
    b.add("bench --config", ["bench", "prefill", "--config", "config.yaml", "--tokens", "32", "--device", "cpu"],
          ["config.yaml"], "config.yaml", "yaml", 8)


GROUPS = {
    "models": add_model_readers,
    "training": add_training_readers,
    "evaluation": add_evaluation_readers,
    "data": add_data_readers,
}
CHECKPOINT = "checkpoints/step_00000006"
RESULTS = "qa1_300_instruction_no_examples_no_post_prompt_no_chat_template_no_system_prompt_no.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--source", default=Path(__file__).parents[2])
    parser.add_argument("--group", choices=GROUPS, action="append", help="default: all")
    parser.add_argument("--only", action="append", default=[], help="subjects whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1, help="how many times as many damages")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-limit", action="store_true", help="for a slow program that maps terabytes (sanitizers)")
    o = parser.parse_args()
    limits = harness.limits(o.no_limit)
    harness.limit_this_process(limits)
    program = harness.Program(os.path.abspath(o.program), limits)
    with tempfile.TemporaryDirectory(prefix="wavetape-readers-") as name:
        root = Path(name)
        for part in ["good", "subjects", "scratch"]:
            (root / part).mkdir()
        good = samples.make_samples(program, o.source, root / "good")
        shutil.copytree(good / "run", good / "single")
        for path in (good / "single/checkpoints").iterdir():
            if path.name.startswith("step_") and path.name != Path(CHECKPOINT).name:
                shutil.rmtree(path)
        (good / "gpt2_files").mkdir()
        for file in ["vocab.json", "merges.txt"]:
            shutil.copy(Path(o.source) / "tests/fixtures/gpt2" / file, good / "gpt2_files")
        bench = Bench(good, root / "subjects", o.scale, o.seed)
        for group in o.group or GROUPS:
            GROUPS[group](bench)
        bench.subjects = [s for s in bench.subjects if not o.only or any(part in s.name for part in o.only)]
        report = harness.Report("readers " + " ".join(o.group or GROUPS))
        # The good files must be taken, or refusing proves nothing.
        for subject in bench.subjects:
            whole = m.Mutation("undamaged", (subject.folder / subject.file).read_bytes(), False)
            count = len(report.findings)
            harness.run_subject_case(program, report, subject, whole, root / "scratch")
            if report.refused:
                sys.exit(f"{subject.name}: the undamaged file is refused ({count} findings before)")
        harness.run_subjects(program, report, bench.subjects, root / "scratch", o.workers)
        return report.finish()


if __name__ == "__main__":
    sys.exit(main())
