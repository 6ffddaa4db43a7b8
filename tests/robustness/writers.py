"""Every command that writes, on a full disk and into a read-only folder.

    python3 tests/robustness/writers.py --program build/release/wavetape [--only NAME …]

The disk is a small tmpfs of our own mount namespace, filled up to so many bytes; read-only it is mounted so. Where no
tmpfs can be mounted, a limit on the size of a file stands in for the full disk (RLIMIT_FSIZE: it fails as late and in
the same calls, but with EFBIG), and a folder without write permission, seen by another user than root, for the
read-only one; a line of the output says which it was.

What is asked of each: exit status 1, one line that names the output, earlier files as they were, nothing half-written
left, and with space made again the same command does its work. A command that a signal ends leaves no more than that.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import harness
import samples

PAGE = 4096
NOBODY = 65534
INSIDE = "WAVETAPE_OWN_MOUNTS"


def enter_own_mounts():
    """Starts this script again where mounting is allowed and seen by nobody else, if that can be had."""
    if INSIDE in os.environ:
        return os.environ[INSIDE] == "yes"
    probe = ("d=$(mktemp -d) && mount -t tmpfs -o size=64k none $d && mount -o remount,bind,ro $d && "
             "mount -o remount,bind,rw $d && umount $d; r=$?; rmdir $d; exit $r")
    for flags in ["-m", "-Urm"]:
        words = ["unshare", flags, "sh", "-c", probe]
        if shutil.which("unshare") and subprocess.run(words, capture_output=True).returncode == 0:
            os.environ[INSIDE] = "yes"
            os.execvp("unshare", ["unshare", flags, sys.executable, *sys.argv])
    os.environ[INSIDE] = "no"
    return False


class TmpfsDisk:
    """A disk of its own, at most `size` bytes."""

    how = "a tmpfs: ENOSPC when full, mounted read-only"
    size = 64 << 20

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "none", folder], check=True)

    def free(self):
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def leave(self, count):
        """Fills the disk but for `count` bytes; returns what goes before the program's words."""
        with open(self.folder / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, self.free() - count))
        return ()

    def make_room(self):
        (self.folder / "filler").unlink(missing_ok=True)

    def read_only(self, on):
        subprocess.run(["mount", "-o", f"remount,bind,{'ro' if on else 'rw'}", self.folder], check=True)
        return ()

    def close(self):
        subprocess.run(["umount", self.folder], check=True)


class LimitedFolder:
    """An ordinary folder; limits stand in for the disk."""

    how = "RLIMIT_FSIZE instead of a full disk: no tmpfs can be mounted here; a folder without write permission"

    def __init__(self, folder):
        self.folder = folder

    def leave(self, count):
        # At least a line of the log and the message itself must fit.
        return ("prlimit", f"--fsize={max(1024, count)}")

    def make_room(self):
        pass

    def read_only(self, on):
        for root, _, _ in os.walk(self.folder):
            os.chmod(root, 0o555 if on else 0o777)
        # Root may write anywhere.
        is_root = on and os.geteuid() == 0
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if is_root else ()

    def close(self):
        pass


@dataclass
class Writer:
    """`arguments` with {good} for the inputs' folder; run in the disk's folder."""

    name: str
    arguments: list
    outputs: list  # files or folders that it makes
    names: list = None  # any of these must stand in the line; default: the outputs
    earlier: bool = True  # the outputs may exist already
    grows: tuple = ()  # patterns of files that a failure may have begun or lengthened
    again: list = None  # what goes on after a failure; default: the same words


def writers():
    data = ["--tokenizer", "{good}/tokenizer.json"]
    sets = ["data", "babilong", "--task", "qa1", *data, "--books", "{good}/books.h5", "--length", "2k", "--samples", "40"]
    made = {"earlier": False, "names": ["made"]}
    evaluate = ["eval", "{good}/model", "--set", "{good}/qa1_300.json", "--max-new-tokens", "2"]
    return [
        Writer("data babi", ["data", "babi", "--stories", "300", "--output", "qa1.txt"], ["qa1.txt"]),
        Writer("data books", ["data", "books", "--input", "{good}/books", *data, "--output", "b.h5"], ["b.h5"]),
        Writer("data babilong json", [*sets, "--output", "set.json"], ["set.json"]),
        Writer("data babilong h5", [*sets, "--output", "set.h5"], ["set.h5"]),
        Writer("export", ["export", "{good}/run", "made"], ["made"], **made),
        Writer("export --adapters", ["export", "{good}/lora_run", "made", "--adapters"], ["made"], **made),
        Writer("import", ["import", "{good}/llama_sharded", "made", "--segment-size", "16", "--num-mem-tokens", "2",
                          "--d-mem", "4"], ["made"], **made),
        Writer("convert", ["convert", "{good}/model", "made", "--names", "both"], ["made"], **made),
        Writer("generate --save-state", ["generate", "{good}/model", "--input", "{good}/books/first.txt", "--save-state",
                                         "book.state"], ["book.state"]),
        Writer("generate --output", ["generate", "{good}/model", "--prompts-file", "{good}/prompts.jsonl", "--output",
                                     "answers.jsonl", "--max-new-tokens", "40", "--ignore-eos"], ["answers.jsonl"]),
        Writer("forward", ["forward", "{good}/model", "--input", "{good}/ids.safetensors", "--output", "out.safetensors",
                           "--backward"], ["out.safetensors"]),
        Writer("report", ["report", "{good}/run", "--output", "report.html"], ["report.html"]),
        Writer("score --output", ["score", "{good}/results", "--output", "scores.csv"], ["scores.csv"]),
        Writer("score --plot", ["score", "{good}/results", "--plot", "scores.svg"], ["scores.svg"]),
        Writer("eval --plot", [*evaluate, "--plot", "eval.svg"], ["eval.svg"]),
        # Three files, each whole or as it was.
        Writer("eval --output", [*evaluate, "--output", "results"], ["results"],
               grows=(r"results", r"results/(eval\.csv|eval\.json|answers\.csv)")),
        Writer("gptscore --output", ["gptscore", "--model", "{good}/model", "--input", "{good}/answers.jsonl",
                                     "--instructions", "{good}/aspects.yaml", "--output", "results"], ["results"],
               grows=(r"results", r"results/(scores\.csv|scores\.json|gptscore\.svg)")),
        Writer("eval --layout official", [*evaluate, "--layout", "official", "--output", "results"], ["results"],
               earlier=False, grows=(r"results", r"results/qa1_300_[a-z_]+\.(csv|json)")),
        # What is there of a run is gone on with.
        Writer("train", ["train", "{good}/config.yaml", "run.dir=run", "data.babi={good}/babi",
                         "data.books={good}/books.h5", "data.tokenizer={good}/tokenizer.json"], ["run"], earlier=False,
               grows=(r"run", r"run/.*"), again=["--resume"]),
    ]


def tree(folder):
    """Every file's bytes, but for the filler."""
    out = {}
    for root, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(root) / name
            out[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    out.pop("filler", None)
    return out


def clear(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def used(folder):
    return sum(-(-len(data) // PAGE) * PAGE for data in tree(folder).values() if data)


def largest(folder):
    return max(len(data) for data in tree(folder).values() if data)


def tree_problem(before, after, grows):
    """What a failure has changed, other than the files it may."""
    for path in sorted(before.keys() | after.keys()):
        if before.get(path, b"-") == after.get(path, b"-"):
            continue
        if re.search(r"\.tmp(_|$)", path):
            return f"{path} was left behind"
        if any(re.fullmatch(pattern, path) for pattern in grows):
            continue
        what = "is gone" if path not in after else "was left behind" if path not in before else "was changed"
        return f"{path} {what}"
    return None


# Of a run: what differs from one run to the next, times and names of hosts among it.
def comparable(files):
    kinds = ("weights.safetensors", "optimizer.safetensors")
    return {path: data for path, data in files.items() if path.endswith(kinds)}


class Test:
    def __init__(self, program, disk, good, report):
        self.program, self.disk, self.good, self.report = program, disk, good, report

    def words(self, writer):
        return [word.replace("{good}", str(self.good)) for word in writer.arguments]

    def prepare(self, writer, earlier):
        self.disk.make_room()
        clear(self.disk.folder)
        (self.disk.folder / "mine.txt").write_text("a file of the user's\n")
        if earlier and writer.earlier:
            for output in writer.outputs:
                path = self.disk.folder / output
                if "." in output:
                    path.write_text("what an earlier run has left\n")
                else:
                    path.mkdir()
                    (path / "eval.csv").write_text("what an earlier run has left\n")

    def fail(self, writer, name, before_words, allowed=(1,)):
        """One run that has to fail, and what it leaves."""
        before = tree(self.disk.folder)
        outcome = self.program.run(self.words(writer), self.disk.folder, before=before_words)
        names = writer.names or writer.outputs
        problem = harness.judge(self.program, outcome, True, names)
        if not problem and outcome.code not in allowed:
            problem = f"exit status {outcome.code}, expected 1"
        if not problem:
            problem = tree_problem(before, tree(self.disk.folder), writer.grows)
        self.report.add(f"{writer.name}: {name}", outcome, problem)
        return outcome

    def succeed(self, writer, name, words):
        outcome = self.program.run(words, self.disk.folder)
        self.report.add(f"{writer.name}: {name}", outcome, None if outcome.code == 0 else "was refused")
        return outcome.code == 0

    def go_on(self, writer, name, whole):
        """With space made, the command does its work; a run goes on where it stood, to the same weights."""
        self.disk.make_room()
        words = self.words(writer)
        if writer.again and (self.disk.folder / writer.outputs[0] / "config.yaml").exists():
            words += writer.again
        if self.succeed(writer, f"{name}, then room", words) and writer.again:
            if comparable(tree(self.disk.folder)) != comparable(whole):
                self.report.add(f"{writer.name}: {name}, then room", harness.Outcome(0, "", "", 0, 0, False),
                                "the weights differ from the undisturbed run's")

    def interrupt(self, writer, seconds, whole):
        """A signal at any moment of so many seconds of work: no temporary files, and earlier ones as they were, unless
        all is there already."""
        for share in (0.3, 0.6, 0.9):
            self.prepare(writer, earlier=True)
            before = tree(self.disk.folder)
            outcome = self.program.run(self.words(writer), self.disk.folder, terminate_after=share * seconds)
            problem = None
            if outcome.code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
                problem = "another exit status than a signal's"
            after = tree(self.disk.folder)
            # By size: HDF5 writes down when it was.
            done = all(path in after and len(after[path] or b"") == len(data or b"") for path, data in whole.items())
            if not problem and outcome.code != 0 and not done:
                # Finished results and what was read of a text are kept beside the earlier file.
                problem = tree_problem(before, after, (*writer.grows, r".*\.partial"))
            self.report.add(f"{writer.name}: a signal after {share:.0%} of its time", outcome, problem)

    def run(self, writer):
        folder = self.disk.folder
        self.prepare(writer, earlier=False)
        start = time.monotonic()
        if not self.succeed(writer, "room enough", self.words(writer)):
            return
        seconds = time.monotonic() - start
        whole = tree(folder)
        limited = isinstance(self.disk, LimitedFolder)
        size = largest(folder) if limited else used(folder) - PAGE
        quarters = {0, PAGE, size // 4, size // 2, 3 * size // 4, size - PAGE}
        if writer.again:  # a training: anywhere
            quarters |= {size * i // 12 for i in range(12)}
        # Replacing an earlier file of a folder frees a page.
        must_not_fit = size - PAGE if limited or (writer.earlier and "." not in writer.outputs[0]) else size
        for room in sorted({max(0, room) // PAGE * PAGE for room in quarters if room < must_not_fit}):
            self.prepare(writer, earlier=True)
            self.fail(writer, f"room for {room} of {size} bytes", self.disk.leave(room))
            self.go_on(writer, f"room for {room} of {size} bytes", whole)
        self.prepare(writer, earlier=True)
        self.fail(writer, "a read-only folder", self.disk.read_only(True))
        self.disk.read_only(False)
        self.go_on(writer, "a read-only folder", whole)
        self.interrupt(writer, seconds, whole)

    def resume_read_only(self):
        """A run that lies on a read-only disk cannot be gone on with, but everything that reads it works."""
        self.prepare(Writer("", [], []), earlier=False)
        shutil.copytree(self.good / "run", self.disk.folder / "run")
        before = self.disk.read_only(True)
        words = ["train", str(self.good / "config.yaml"), "--resume", f"data.babi={self.good}/babi",
                 f"data.books={self.good}/books.h5", f"data.tokenizer={self.good}/tokenizer.json"]
        self.fail(Writer("train --resume", words, ["run"]), "a read-only folder", before)
        for words in (["info", "run"], ["generate", "run", "--prompt", " Where is Mary?", "--max-new-tokens", "2"],
                      ["eval", "run", "--task", "qa1", "--length", "0k", "--samples", "2", "--books", "none",
                       "--babi", "simulate"]):
            self.succeed(Writer(f"{words[0]} of a read-only run", words, []), "read", words)
        self.disk.read_only(False)

    def full_output(self):
        """Standard output is a file like others."""
        commands = [["info", "--config-reference"], ["--version"], ["plan"], ["score", str(self.good / "results")],
                    ["tokenize", str(self.good / "small.json"), "--text", "Mary"], ["info", str(self.good / "run")],
                    ["generate", str(self.good / "model"), "--prompt", " Where is Mary?", "--max-new-tokens", "2"],
                    ["generate", str(self.good / "model"), "--prompts-file", str(self.good / "prompts.jsonl"),
                     "--max-new-tokens", "2"],
                    ["eval", str(self.good / "model"), "--set", str(self.good / "qa1_300.json")],
                    ["gptscore", "--model", str(self.good / "model"), "--input", str(self.good / "answers.jsonl"),
                     "--instructions", str(self.good / "aspects.yaml")],
                    ["train", str(self.good / "config.yaml"), "--print-config"], ["--help"], ["data", "books", "--help"]]
        for words in commands:
            with open("/dev/full", "wb") as full:
                outcome = self.program.run(words, self.good, stdout=full)
            problem = harness.judge(self.program, outcome, True, ["cannot write output: No space left on device"])
            self.report.add(f"{' '.join(words[:1])} to a full standard output", outcome,
                            problem or (None if outcome.code == 1 else f"exit status {outcome.code}, expected 1"))


def main():
    has_mounts = "--no-mounts" not in sys.argv and enter_own_mounts()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--source", default=Path(__file__).parents[2])
    parser.add_argument("--only", action="append", default=[], help="writers whose name contains this")
    parser.add_argument("--no-mounts", action="store_true", help="as where no tmpfs can be mounted")
    parser.add_argument("--no-limit", action="store_true", help="for a slow program that maps terabytes (sanitizers)")
    o = parser.parse_args()
    limits = harness.limits(o.no_limit)
    harness.limit_this_process(limits)
    program = harness.Program(os.path.abspath(o.program), limits)
    report = harness.Report("writers")
    with tempfile.TemporaryDirectory(prefix="wavetape-writers-") as name:
        root = Path(name)
        os.chmod(root, 0o755)
        for part in ["good", "disk"]:
            (root / part).mkdir()
        good = samples.make_samples(program, o.source, root / "good")
        disk = (TmpfsDisk if has_mounts else LimitedFolder)(root / "disk")
        print(f"writers: {disk.how}")
        try:
            test = Test(program, disk, good, report)
            for writer in writers():
                if not o.only or any(part in writer.name for part in o.only):
                    test.run(writer)
            if not o.only:
                test.resume_read_only()
                test.full_output()
        finally:
            disk.close()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
