#!/usr/bin/env python3
"""Makes the tokenizer.json beside this file: a small byte-level BPE for bAbI facts hidden in old English prose.

    apt-get install bible-kjv && pip install tokenizers
    python3 make_tokenizer.py                # writes tokenizer.json beside this script
    python3 make_tokenizer.py --check        # writes nothing; checks the file that is there

Two texts decide the merges, both free for any use:
  (a) sentences in the manner of the 20 bAbI tasks, made up below from word lists (no bAbI file is read), and
  (b) the King James Bible. Debian's `bible -f gen1:1-rev22:21` prints one verse a line and never breaks a line;
      each line begins with its reference ("Ge1:1 "), which is cut off here. Nothing else stands in the output:
      no headings, no footnotes, no markup, ASCII only.
The result is the same on every run: the sentences come from a seeded generator.
"""
import argparse, os, random, re, subprocess, sys

VOCAB_SIZE = 2048
SPECIAL = ["<|endoftext|>", "<|gen|>", "<|pad|>"]  # ids 0, 1, 2
NUM_BABI = 60_000  # made-up sentences: enough that every word of theirs becomes one token
HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "tokenizer.json")

NAMES = "Mary John Daniel Sandra Bill Fred Jeff Julie Lily Bernhard Greg Julius Brian Gertrude Winona Jessica Emily " \
        "Antoine Sumit Jason Yann".split()
PLACES = "bathroom bedroom garden hallway kitchen office cinema park school".split()
THINGS = "apple football milk pajamas".split()
MOVES = ["went to", "went back to", "journeyed to", "travelled to", "moved to"]
GETS = ["got", "took", "grabbed", "picked up"]
DROPS = ["dropped", "left", "discarded", "put down"]
GIVES = ["gave", "passed", "handed"]
AFTER = ["Afterwards", "Then", "After that", "Following that"]
TIMES = ["yesterday", "this morning", "this afternoon", "this evening"]
DIRECTIONS = ["north", "south", "east", "west"]
RELATIONS = ["above", "below", "to the left of", "to the right of"]
SHAPES = ["triangle", "pink rectangle", "blue square", "red square", "yellow square", "red sphere"]
SIZED = ["chocolate", "box of chocolates", "box", "chest", "suitcase", "container"]
ANIMALS = ["mouse", "sheep", "wolf", "cat", "swan", "lion", "frog", "rhino"]
PLURALS = ["mice", "sheep", "wolves", "cats"]
COLOURS = ["gray", "white", "yellow", "green"]
MOODS = ["tired", "hungry", "bored", "thirsty"]
NUMBERS = ["none", "one", "two", "three", "nothing", "yes", "no", "maybe"]


def babi_like(rng):
    """One sentence, question or answer in the wording of the bAbI tasks."""
    c = rng.choice
    p, r, l, k, o = c(NAMES), c(NAMES), c(PLACES), c(PLACES), c(THINGS)
    d, e, s, t = c(DIRECTIONS), c(DIRECTIONS), c(SHAPES), c(SHAPES)
    forms = [
        lambda: f"{p} {c(MOVES)} the {l}.", lambda: f"Where is {p}?", lambda: f"{p} {c(GETS)} the {o} there.",
        lambda: f"{p} {c(DROPS)} the {o}.", lambda: f"{p} {c(GIVES)} the {o} to {r}.", lambda: f"Where is the {o}?",
        lambda: f"Where was the {o} before the {l}?", lambda: f"What did {p} give to {r}?",
        lambda: f"Who {c(['gave', 'received'])} the {o}?", lambda: f"Who did {p} give the {o} to?",
        lambda: f"Is {p} in the {l}?", lambda: f"How many objects is {p} carrying?", lambda: f"What is {p} carrying?",
        lambda: f"{p} is {c(['in', 'no longer in', 'not in'])} the {l}.", lambda: f"{p} is either in the {l} or the {k}.",
        lambda: f"{c(AFTER)} {c(['he', 'she', 'they'])} {c(MOVES)} the {l}.", lambda: f"{p} and {r} {c(MOVES)} the {l}.",
        lambda: f"{p} {c(MOVES)} the {l} {c(TIMES)}.", lambda: f"{c(TIMES).capitalize()} {p} {c(MOVES)} the {l}.",
        lambda: f"Where was {p} before the {l}?", lambda: f"{c(PLURALS).capitalize()} are afraid of {c(PLURALS)}.",
        lambda: f"{p} is a {c(ANIMALS)}.", lambda: f"What is {p.lower()} afraid of?", lambda: f"{p} is {c(COLOURS + MOODS)}.",
        lambda: f"What color is {p}?", lambda: f"The {l} is {d} of the {k}.", lambda: f"What is {d} of the {k}?",
        lambda: f"What is the {l} {d} of?", lambda: f"How do you go from the {l} to the {k}?", lambda: f"{d[0]},{e[0]}",
        lambda: f"The {s} is {c(RELATIONS)} the {t}.", lambda: f"Is the {s} {c(RELATIONS)} the {t}?",
        lambda: f"The {c(SIZED)} fits inside the {c(SIZED)}.", lambda: f"The {c(SIZED)} is bigger than the {c(SIZED)}.",
        lambda: f"Does the {c(SIZED)} fit in the {c(SIZED)}?", lambda: f"Is the {c(SIZED)} bigger than the {c(SIZED)}?",
        lambda: f"Where will {p.lower()} go?", lambda: f"Why did {p.lower()} go to the {l}?",
        lambda: f"Why did {p.lower()} get the {o}?", lambda: c(PLACES + THINGS + COLOURS + MOODS + ANIMALS + NAMES),
    ]
    return c(forms)()


def king_james():
    """The verses, without their references, in order."""
    out = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout
    verses = []
    for line in out.splitlines():
        m = re.fullmatch(r"[1-3]?[A-Za-z]+[0-9]+:[0-9]+ (.+)", line)
        if not m:
            sys.exit(f"not a verse: {line!r}")
        verses.append(m.group(1))
    return verses


def train():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    rng = random.Random(1)
    text = []
    for _ in range(NUM_BABI):  # a sentence stands at the start of a text or after a space
        text.append(rng.choice(["", " "]) + babi_like(rng))
    text += [" " + w for w in NUMBERS] * 800  # these answers occur in no sentence
    text += [" " + v for v in king_james()]
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tok


def check(tok):
    """Prints the facts a user wants to know; exits when one of them is not as promised."""
    bad = []
    words = set(NAMES + PLACES + THINGS + ANIMALS + PLURALS + COLOURS + MOODS + DIRECTIONS + NUMBERS)
    for f in MOVES + GETS + DROPS + GIVES + ["Where", "is", "the", "there"]:
        words |= set(f.split())
    for w in sorted(words):
        if len(tok.encode(" " + w).ids) != 1:
            bad.append(f"' {w}' is {tok.encode(' ' + w).tokens}")
    for i, s in enumerate(SPECIAL):
        if tok.token_to_id(s) != i:
            bad.append(f"{s} has id {tok.token_to_id(s)}")
    rng = random.Random(2)
    probes = [babi_like(rng) for _ in range(2000)] + king_james()[:2000] + \
             ["", " ", "  two  spaces ", "tab\tand\nnewline\r\n", "café — naïve “quotes” ’", "日本語 🙂", "a" * 300, "12,345.678"]
    for s in probes:
        if tok.decode(tok.encode(s).ids, skip_special_tokens=False) != s:
            bad.append(f"round trip: {s!r}")
    if [t for t in tok.encode(" Where is Mary?<|gen|> office<|endoftext|>").tokens] != \
            ["ĠWhere", "Ġis", "ĠMary", "?", "<|gen|>", "Ġoffice", "<|endoftext|>"]:
        bad.append("question with separators: " + str(tok.encode(" Where is Mary?<|gen|> office<|endoftext|>").tokens))
    verses = king_james()
    n = sum(len(e.ids) for e in tok.encode_batch([" " + v for v in verses]))
    chars = sum(len(v) + 1 for v in verses)
    print(f"vocabulary {tok.get_vocab_size()}; King James: {chars} characters, {n} tokens, {chars / n:.2f} characters a token")
    for s in (" Mary went to the office.", " Sandra journeyed to the bathroom.", " John went back to the hallway.", " Where is Daniel?"):
        print(f"{len(tok.encode(s).ids):3d} tokens: {s!r}")
    if bad:
        sys.exit("\n".join(bad))
    print("all checks passed")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--check", action="store_true")
    args = ap.parse_args()
    if not args.check:
        train().save(FILE)
    from tokenizers import Tokenizer
    check(Tokenizer.from_file(FILE))
