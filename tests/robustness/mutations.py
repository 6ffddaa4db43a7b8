"""Damaged files, from a seed: each mutation has a name, the file's new bytes, and whether the program must refuse it.

A mutation that need not be refused (a bit inside data, a word of a text) may still be; it must never be worse than
that.
"""
import json
import random
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    name: str
    data: bytes | None  # None: the file is missing; see also SPECIAL
    must_fail: bool


# Stand in for bytes: the harness makes a folder, or a file of many gigabytes that takes no space.
FOLDER = b"\0a folder"
ENORMOUS = b"\0enormous"

NUMBERS = ["-1", "0", "1", "2147483648", "9223372036854775807", "18446744073709551616", "1e30", "1e400", "-0.5"]
OTHERS = ["null", "true", '""', "[]", "{}", '"x"', "[[1]]", '"\\u0000\\ud800"', '"' + "x" * 70000 + '"']


def absent():
    return [Mutation("missing", None, True), Mutation("a folder", FOLDER, True)]


def cuts(data, rng, count, must_fail=True):
    """The file cut at its quarters, before its last byte, and anywhere."""
    places = {0, 1, len(data) // 4, len(data) // 2, 3 * len(data) // 4, len(data) - 1}
    places |= {rng.randrange(len(data)) for _ in range(count)}
    out = []
    for place in sorted(place for place in places if place < len(data)):
        # What is cut away may be a line break that nobody misses.
        empty = data[place:].strip() == b""
        out.append(Mutation(f"cut at {place} of {len(data)}", data[:place], must_fail and not empty))
    return out


def flips(data, rng, count, head=64, must_fail=False):
    """Single bits: half of them at the beginning, where headers are."""
    out = []
    for i in range(count):
        place = rng.randrange(min(head, len(data)) if i % 2 == 0 else len(data))
        bit = rng.randrange(8)
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        out.append(Mutation(f"bit {bit} of byte {place}", bytes(changed), must_fail))
    return out


def splices(data, rng, count):
    """Stretches overwritten, left out, doubled; bytes that are no text."""
    out = []
    for _ in range(count):
        begin = rng.randrange(len(data))
        end = min(len(data), begin + 1 + rng.randrange(1 + len(data) // 8))
        noise = bytes(rng.randrange(256) for _ in range(min(end - begin, 4096)))
        out.append(Mutation(f"noise at {begin}", data[:begin] + noise + data[end:], False))
        out.append(Mutation(f"without {begin} to {end}", data[:begin] + data[end:], False))
        out.append(Mutation(f"twice {begin} to {end}", data[:end] + data[begin:], False))
    begin = rng.randrange(len(data))
    for name, part in [("no UTF-8", b"\xff\xfe\xc0\x80\xed\xa0\x80"), ("NUL", b"\0\0"), ("escapes", b"\x1b[31m\x07\r")]:
        out.append(Mutation(f"{name} at {begin}", data[:begin] + part + data[begin:], False))
    return out


def other_files(rng):
    """What is no file of the expected kind at all."""
    noise = bytes(rng.randrange(256) for _ in range(3000))
    return [
        Mutation("noise", noise, True),
        Mutation("zeros", bytes(5000), True),
        Mutation("enormous", ENORMOUS, True),
    ]


def nested():
    deep = 200_000
    return [
        Mutation("lists 200,000 deep", b"[" * deep + b"]" * deep, True),
        Mutation("objects 200,000 deep", b'{"a":' * deep + b"1" + b"}" * deep, True),
        Mutation("lists that stay open", b"[" * deep, True),
        Mutation("a million letters", b"a" * 1_000_000, True),
    ]


def json_paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from json_paths(part, (*path, key))


class Raw(str):
    """JSON text that stands for itself."""


def dump_json(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(key) + ":" + dump_json(part) for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dump_json(part) for part in value) + "]"
    return json.dumps(value)


def replaced(value, path, new):
    """A copy with another value at `path`; without it where `new` is None."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is None:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def json_values(text, rng, count, keep=lambda path: True):
    """Single values replaced by something of another size or type, or taken away."""
    root = json.loads(text)
    paths = [path for path in json_paths(root) if path and keep(path)]
    out = []
    # Short files are gone through value by value, long ones at random.
    for i in range(count):
        path = paths[i % len(paths)] if len(paths) <= count else rng.choice(paths)
        place = ".".join(str(key) for key in path)[:60]
        kind = rng.randrange(8)
        if kind == 0:
            out.append(Mutation(f"without {place}", dump_json(replaced(root, path, None)).encode(), False))
        else:
            new = rng.choice(NUMBERS if kind < 5 else OTHERS)
            out.append(Mutation(f"{place} = {new[:24]}", dump_json(replaced(root, path, Raw(new))).encode(), False))
    first = dump_json(root)
    if first.startswith("{") and first != "{}":
        out.append(Mutation("every key twice", (first[:-1] + "," + first[1:]).encode(), False))
    return out


def yaml_values(text, rng, count):
    """Single values of a configuration replaced; lines taken away, doubled, moved; what YAML has beside."""
    lines = text.split("\n")
    places = [i for i, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")]
    values = NUMBERS + ["nan", ".inf", "yes", "~", "[]", "{}", "[1, 2", "*x", "&x 1", "!!binary xyz", "'open", "|",
                        "x" * 70000, "[" * 5000, "{a: " * 5000, "\t1", "1: 2", "\\xff"]
    out = []
    for i in range(count):
        place = places[i % len(places)] if len(places) <= count else rng.choice(places)
        key = lines[place].split(": ")[0]
        value = rng.choice(values)
        changed = [*lines[:place], f"{key}: {value}", *lines[place + 1 :]]
        out.append(Mutation(f"{key.strip()}: {value[:24]}", "\n".join(changed).encode(), False))
    for i in range(count // 8):
        place = rng.choice(places)
        out.append(Mutation(f"without line {place + 1}", "\n".join(lines[:place] + lines[place + 1 :]).encode(), False))
        moved = "\n".join([*lines[:place], "   " + lines[place], *lines[place + 1 :]])
        out.append(Mutation(f"line {place + 1} moved", moved.encode(), False))
    bomb = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    out.append(Mutation("aliases of aliases", bomb.encode(), True))
    out.append(Mutation("two documents", (text + "\n---\n" + text).encode(), False))
    return out


def read_safetensors(data):
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_safetensors(header, body):
    text = (header if isinstance(header, str) else dump_json(header)).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def safetensors_parts(data, rng, count):
    """The header's length, every field of its tensors, and values that are not finite."""
    header, body = read_safetensors(data)
    size = len(data) - 8 - len(body)
    out = []
    for length in [0, 1, size - 1, size + 1, size + 8, len(data), 100_000_001, 2**32, 2**63, 2**64 - 1]:
        out.append(Mutation(f"header of {length} bytes", struct.pack("<Q", length) + data[8:], True))
    out.append(Mutation("bytes behind the end", data + b"12345678", True))
    out.append(Mutation("header deep", write_safetensors('{"a":' * 100_000 + "}" * 100_000, body), True))
    names = [name for name in header if name != "__metadata__"]
    for _ in range(count):
        name = rng.choice(names)
        entry = dict(header[name])
        kind = rng.randrange(8)
        must_fail = True
        if kind == 0:
            others = [dtype for dtype in ["F64", "I64", "U8"] if dtype != entry["dtype"]]
            entry["dtype"] = rng.choice([*others, "F7", "", Raw("3")])
        elif kind == 1:
            entry["shape"] = rng.choice([Raw("[-1]"), [2**62, 4], [2**63], [], [0], [1] * 40, Raw("[1e3]"), Raw("7")])
            must_fail = entry["shape"] != [] or header[name]["shape"] != []
        elif kind == 2:
            entry["shape"] = [*entry["shape"], 1]
            must_fail = False
        elif kind == 3:
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice(
                [[end, begin], [begin, end + 4], [begin + 2**40, end + 2**40], [begin - 4, end], [begin], [], Raw("{}")]
            )
        elif kind == 4:
            del entry[rng.choice(list(entry))]
        elif kind == 5:
            entry["extra"] = 1
        changed = {**header, name: entry}
        if kind == 6:
            changed.pop(name)
        if kind == 7:
            changed["x." + name] = changed.pop(name)
            must_fail = False
        what = ["dtype", "shape", "extent", "offsets", "field less", "field more", "gone", "renamed"][kind]
        out.append(Mutation(f"{name}: {what}", write_safetensors(changed, body), must_fail))
    twice = dump_json(header)
    out.append(Mutation("every name twice", write_safetensors(twice[:-1] + "," + twice[1:], body), True))
    out.append(Mutation("no tensors", write_safetensors("{}", b""), True))
    for name, value in [("NaN", float("nan")), ("infinity", float("inf")), ("1e38", 1e38)]:
        floats = [n for n in names if header[n]["dtype"] == "F32" and header[n]["data_offsets"][1]]
        if not floats:
            break
        begin, end = header[rng.choice(floats)]["data_offsets"]
        filled = body[:begin] + struct.pack("<f", value) * ((end - begin) // 4) + body[end:]
        out.append(Mutation(f"a tensor of {name}", write_safetensors(header, filled), False))
    return out


def metadata_values(data, rng, count):
    """Values of a safetensors file's metadata replaced."""
    header, body = read_safetensors(data)
    out = []
    for _ in range(count):
        key = rng.choice(list(header["__metadata__"]))
        metadata = dict(header["__metadata__"])
        if rng.randrange(4) == 0:
            del metadata[key]
        else:
            metadata[key] = rng.choice(["", "0", "-1", "99999999999999999999", "9223372036854775807", "x" * 70000,
                                        Raw("3"), "1\n2"])
        out.append(Mutation(f"metadata {key}", write_safetensors({**header, "__metadata__": metadata}, body), False))
    return out


def csv_parts(text, rng):
    lines = text.split("\n")
    return [
        Mutation("an open quote", (text + '"').encode(), True),
        Mutation("no rows", (lines[0] + "\n").encode(), True),
        Mutation("no columns", ("\n".join(lines[1:])).encode(), True),
        Mutation("a column too many", (text + ",".join(["x"] * 9) + "\n").encode(), True),
        Mutation("a column twice", text.replace("question", "target", 1).encode(), True),
        Mutation("a hundred thousand columns", ("," * 100_000 + "\n" + text).encode(), True),
    ]


def generator(seed, name):
    return random.Random(f"{seed} {name}")
