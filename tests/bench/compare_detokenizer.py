#!/usr/bin/env python3
"""Compares our English detokeniser with sacremoses' MosesDetokenizer.

    cmake --build --preset release --target detokenize
    python3 tests/bench/compare_detokenizer.py --program build/release/tests/detokenize

Texts are those below and random ones: words, punctuation, quotes, contractions, entities, currency, East Asian words
and blanks of all kinds. Random texts with an apostrophe before an ideograph or a Hangul syllable are passed over: Moses
takes these for letters, the library's table lacks them. Needs sacremoses 0.2; exit code 1 where any text comes out
differently.

--refresh tests/fixtures/detokenizer.json writes the texts below with what the library makes of them.
"""
import argparse, json, random, re, subprocess, sys

from sacremoses import MosesDetokenizer

TEXTS = [
    "", " ", "word", "  two   words ", "A tab\tand\u00a0a hard blank .",
    # Punctuation stands close to the word before it, alone or in a row.
    "Hello , world !", "Wait ... what ?!", "50 % of them ; two : three", ", first", "( a ) [ b ] { c }", "so ) , he said",
    "a \\ b", "end . ) Next", "3.14 , not 3 . 14", "- dash - and -- dashes", "a / b",
    # Brackets and currency stand close to the word behind them.
    "$ 5 and \u20ac 7", "( $ 5 )", "US$ 5", "\u00bf Qu\u00e9 ?", "\u00a1 Hola !", "\uffe5 100", "( ( nested ) )",
    # Contractions.
    "It 's here", "do n't", "we 'll go , they 've gone", "'tis the season", "' tis the season", "rock 'n' roll",
    "the '90s", "He 'Neill", "' em", "'s first", "caf\u00e9 '\u00e9t\u00e9", "end . 's",
    # Quotes in pairs, each kind for itself.
    "\" quoted \" text", "he said \" yes \" and \" no \"", "' single ' quotes", "\" it 's ' so ' \" , he said",
    "`` old '' quotes", "` a ` b", "\u201e tief \u201c", "\u201c left \u201c", "\u201d right \u201d", "\" \"", "\" open",
    "'' two '' twice", "\"' mixed \"' kinds", "\" , \"", "( \" in \" )", "\" a \u201e b \u201c c \"",
    # A lone apostrophe behind an s.
    "The Jones ' house", "the dogs ' bones ' here", "' dogs ' bones", "it was his ' own '",
    # What the tokeniser has escaped.
    "a &amp; b &lt; c &gt; d", "&quot; x &quot;", "it &apos;s", "&#91; x &#93;", "a &#124; b", "&bar; &bra; x &ket;",
    "&amp;lt;", "&amp;amp;", "AT&amp;T", "&AMP; &nbsp;",
    # Aggressive hyphens.
    "well @-@ known", "a @-@ b @-@ c", "a @-@ @-@ b", "@-@", "x@-@y",
    # Chinese, Japanese and Korean words stand close to each other.
    "\u4f60\u597d \u4e16\u754c \u3002", "hello \u4e16\u754c \u4f60\u597d hello", "\u30c6\u30b9\u30c8 \u306e x\u6f22 \u5b57",
    "\uac00 \ub098", "\u6f22x \u5b57", "\u4e16 ,", "\U00020000 \U0002ffff",
    # Words of other scripts.
    "\u041f\u0440\u0438\u0432\u0435\u0442 , \u043c\u0438\u0440 !", "Stra\u00dfe '\u00fc", "na\u00efve \u2026 so",
    # Answers of models, with line breaks that have become blanks.
    "1 . First , 2 . Second", "Answer: the office.  It is in the office .", "I think it 's \" Mary 's \" , is n't it ?",
]
PIECES = ["a", "The", "dogs", "is", "n't", "'s", "'ll", "'t", "'", "\"", "''", "``", "`", "\u201e", "\u201c", "\u201d", "\u2019",
          ",", ".", "?", "!", ":", ";", "%", ")", "]", "}", "\\", "?!", "...", "(", "[", "{", "([", "\u00bf", "\u00a1", "$",
          "\u00a3", "\u20ac", "($", "5", "3.5", "&amp;", "&lt;", "&quot;", "&apos;s", "&#124;", "&bra;", "@-@", "-", "\u4f60",
          "\u4e16\u754c", "x\u6f22", "\u6f22x", "\uac00", "\uff65", "\uffdc", "\u00e9t\u00e9", "'\u00e9", "caf\u00e9s", "s", "'s'", "\"'"]
BLANKS = [" "] * 12 + ["  ", "\t", "\u00a0", "\u3000", "", "\u2009"]


# Letters that the library does not know.
UNKNOWN = re.compile("('|&apos;)[\u3400-\u9fff\uac00-\ud7af]")


def random_text(rng):
    while True:
        text = "".join(rng.choice(PIECES) + rng.choice(BLANKS) for _ in range(rng.randrange(1, 16)))
        if not UNKNOWN.search(text):
            return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/tests/detokenize")
    parser.add_argument("--random", type=int, default=200000, help="random texts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--refresh", metavar="FILE", help="write the cases of the tests instead")
    options = parser.parse_args()
    library = MosesDetokenizer(lang="en")
    theirs = lambda text: library.detokenize(text.split(" "))
    if options.refresh:
        with open(options.refresh, "w", encoding="utf-8") as file:
            json.dump([{"text": text, "expected": theirs(text)} for text in TEXTS], file, ensure_ascii=True, indent=1)
            file.write("\n")
        return 0
    rng = random.Random(options.seed)
    texts = TEXTS + [random_text(rng) for _ in range(options.random)]
    result = subprocess.run([options.program], input="\n".join(texts) + "\n", capture_output=True, encoding="utf-8",
                            check=True)
    ours = result.stdout.split("\n")[:-1]
    assert len(ours) == len(texts)
    different = [(text, our) for text, our in zip(texts, ours) if theirs(text) != our]
    for text, our in different[:20]:
        print(f"{text!r}\n  sacremoses {theirs(text)!r}\n  ours       {our!r}")
    print(f"{len(texts)} texts, {len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
