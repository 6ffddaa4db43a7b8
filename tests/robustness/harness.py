"""Runs the program on damaged inputs and looks at how it ends.

What every run must do, whatever it is given: end within seconds, by itself, with exit status 0, 1 or 2 and within the
memory limit. One that fails says so in one line on standard error, `wavetape: ` and the name of the file at fault, in
printable UTF-8, and leaves every file as it was.
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import mutations

LONGEST_LINE = 2000
# Words of libraries and of bugs, not of an error message.
FOREIGN = re.compile(r"json\.exception|std::|basic_string|vector::|map::at|bad_alloc|filesystem error|internal error|"
                     r"terminate called|AddressSanitizer|runtime error:|what\(\)|stoi|stol|yaml-cpp|HDF5-DIAG")


@dataclass
class Limits:
    seconds: float = 10  # of processor time: the machine may have much else to do
    patience: float = 120  # until a run that waits for nothing is ended
    address_space: int | None = 640 << 20  # None under sanitizers, which map terabytes
    resident: int = 600 << 20


def limits(no_limit):
    """Of a run; without a limit: for sanitizers, which map terabytes and take their time."""
    return Limits(seconds=60, patience=600, address_space=None, resident=3 << 30) if no_limit else Limits()


@dataclass
class Outcome:
    code: int
    err: str
    out: str
    seconds: float  # of processor time
    resident: int
    timed_out: bool


@dataclass
class Program:
    path: str
    limits: Limits
    environment: dict = field(default_factory=dict)
    # Tokenised books are kept here: what was made of good ones once needs no writing in a run.
    cache: tempfile.TemporaryDirectory = field(default_factory=tempfile.TemporaryDirectory)

    def __post_init__(self):
        os.chmod(self.cache.name, 0o777)

    def run(self, arguments, folder, stdout=None, before=(), terminate_after=None):
        """In `folder`; `stdout`: a file to print to; `before`: words of a program that starts this one;
        `terminate_after`: seconds until a SIGTERM."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
                       "WAVETAPE_CACHE": self.cache.name, **self.environment}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([*before, self.path, *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                                       stdout=stdout or out, stderr=err, env=environment)
            timed_out = []
            timer = threading.Timer(self.limits.patience, lambda: (timed_out.append(True), process.kill()))
            timer.start()
            if terminate_after is not None:
                # Not reaped yet, so that the id is the process's own even where it has ended.
                time.sleep(terminate_after)
                os.kill(process.pid, signal.SIGTERM)
            _, status, usage = os.wait4(process.pid, 0)
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            return Outcome(process.returncode, err.read().decode(errors="surrogateescape"),
                           out.read().decode(errors="replace"), usage.ru_utime + usage.ru_stime,
                           usage.ru_maxrss * 1024, bool(timed_out))

    def must(self, arguments, folder):
        """For what has to work; returns what was printed."""
        outcome = self.run(arguments, folder)
        if outcome.code != 0:
            raise SystemExit(f"set-up failed: wavetape {' '.join(arguments)}: {outcome.err}")
        return outcome.out


def line_problem(err, names):
    """What is wrong with the one line of a failure; None where nothing is."""
    if not err.endswith("\n") or err.count("\n") != 1:
        return f"{err.count(chr(10))} lines on standard error, expected one"
    if not err.startswith("wavetape: ") or len(err) < 20:
        return "the line does not begin with `wavetape: ` and say something"
    if len(err) > LONGEST_LINE:
        return f"the line has {len(err)} characters"
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]", err):
        return "the line holds control characters or is no UTF-8"
    if found := FOREIGN.search(err):
        return f"`{found.group()}` in the line"
    if not any(name in err for name in names):
        return f"the line names none of {', '.join(names)}"
    return None


def snapshot(folder):
    """Every file and folder below, with what shows a change."""
    out = {}
    for root, folders, files in os.walk(folder):
        for name in folders:
            out[os.path.relpath(os.path.join(root, name), folder)] = "folder"
        for name in files:
            path = os.path.join(root, name)
            status = os.lstat(path)
            out[os.path.relpath(path, folder)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return out


def tree_problem(before, after, allowed=()):
    """What a failure has changed; None where it left everything as it was."""
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path) or any(re.fullmatch(pattern, path) for pattern in allowed):
            continue
        what = "is gone" if path not in after else "was left behind" if path not in before else "was changed"
        return f"{path} {what}"
    return None


@dataclass
class Subject:
    """A command that reads a file: the folder it runs in, and the damages that the file takes there."""

    name: str
    arguments: list
    folder: Path  # copied (as links) for each run
    file: str  # below the folder
    damages: list
    names: list = None  # any of these must stand in the line; default: the file's own name
    # What a failing command may leave: a run that never began has its empty folder and lock.
    allowed: tuple = ()
    prepare: object = None  # called with the copied folder after the damage
    before: tuple = ()  # words of a program that starts this one


def lay_out(subject, damage, folder):
    for root, _, files in os.walk(subject.folder):
        to = folder / os.path.relpath(root, subject.folder)
        to.mkdir(exist_ok=True)
        for name in files:
            # Small files may be appended to in place.
            path = os.path.join(root, name)
            (shutil.copyfile if os.path.getsize(path) < 65536 else os.link)(path, to / name)
    target = folder / subject.file
    if target.exists():
        target.unlink()
    if damage.data == mutations.FOLDER:
        target.mkdir()
    elif damage.data == mutations.ENORMOUS:
        with open(target, "wb") as file:
            file.truncate(6 << 30)
    elif damage.data is not None:
        target.write_bytes(damage.data)
    if subject.prepare:
        subject.prepare(folder)


class Report:
    """Counts runs, and prints what was found."""

    def __init__(self, title):
        self.title = title
        self.lock = threading.Lock()
        self.runs = self.refused = 0
        self.findings = []
        self.slowest = (0.0, "")
        self.largest = (0, "")

    def add(self, name, outcome, problem):
        with self.lock:
            self.runs += 1
            self.refused += outcome.code != 0
            self.slowest = max(self.slowest, (outcome.seconds, name))
            self.largest = max(self.largest, (outcome.resident, name))
            if problem:
                self.findings.append(name)
                print(f"FINDING {name}: {problem}\n    exit {outcome.code}: {outcome.err[:600]!r}", flush=True)

    def finish(self):
        print(f"{self.title}: {self.runs} runs, {self.refused} refused, {len(self.findings)} findings; slowest "
              f"{self.slowest[0]:.1f} s ({self.slowest[1]}), largest {self.largest[0] >> 20} MiB ({self.largest[1]})")
        return 1 if self.findings else 0


def judge(program, outcome, must_fail, names):
    """What is wrong with how a run ended; None where nothing is."""
    if outcome.timed_out:
        return f"still running after {program.limits.patience:.0f} s"
    if outcome.seconds > program.limits.seconds:
        return f"took {outcome.seconds:.0f} s of processor time"
    if outcome.code not in (0, 1, 2):
        return "killed by a signal" if outcome.code < 0 or outcome.code > 128 else "an exit status of its own"
    if outcome.resident > program.limits.resident:
        return f"took {outcome.resident >> 20} MiB"
    if outcome.code == 0:
        return "was accepted" if must_fail else None
    return line_problem(outcome.err, names)


def run_subject_case(program, report, subject, damage, scratch):
    name = f"{subject.name}: {damage.name}"
    folder = Path(scratch) / f"{threading.get_ident()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lay_out(subject, damage, folder)
    before = snapshot(folder)
    outcome = program.run(subject.arguments, folder, before=subject.before)
    names = subject.names or [Path(subject.file).name]
    problem = judge(program, outcome, damage.must_fail, names)
    if not problem and outcome.code != 0:
        problem = tree_problem(before, snapshot(folder), subject.allowed)
    report.add(name, outcome, problem)


def run_subjects(program, report, subjects, scratch, workers):
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run_subject_case, program, report, subject, damage, scratch)
                   for subject in subjects for damage in subject.damages]
        for future in futures:
            future.result()


def limit_this_process(limits):
    """Children inherit the limits."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.address_space:
        resource.setrlimit(resource.RLIMIT_AS, (limits.address_space, limits.address_space))
