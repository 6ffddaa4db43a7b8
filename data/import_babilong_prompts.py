#!/usr/bin/env python3
"""Writes the prompts of an installed BABILong package in the form that `wavetape eval --prompts` reads.

    git clone https://github.com/booydar/babilong
    PYTHONPATH=babilong python3 data/import_babilong_prompts.py > official_prompts.yaml
    wavetape eval MODEL --prompts official_prompts.yaml …

Nothing of the package is copied into this project: the module is imported from wherever it is installed, and its
DEFAULT_TEMPLATE and DEFAULT_PROMPTS are written out as they are. --module names another module with those two names,
--instruction no, --examples no and --post-prompt no leave a part empty, as the package's own switches do.
"""
import argparse, importlib, json, re, sys

PARTS = ["instruction", "examples", "post_prompt"]


def quoted(text):
    """YAML in double quotes; a JSON text is one, where characters stand for themselves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def prompts_yaml(module, wanted):
    prompts = getattr(module, "DEFAULT_PROMPTS", None)
    template = getattr(module, "DEFAULT_TEMPLATE", None)
    if not isinstance(prompts, dict) or not prompts or not isinstance(template, str):
        raise SystemExit(f"{module.__name__}: no DEFAULT_PROMPTS and DEFAULT_TEMPLATE there; is it BABILong's prompts?")
    unknown = [task for task in prompts if not re.fullmatch(r"qa([1-9]|1[0-9]|20)", str(task))]
    if unknown:
        raise SystemExit(f"{module.__name__}: prompts for {', '.join(map(str, unknown))}, expected qa1 to qa20")
    lines = [f"# The prompts of {module.__name__}, written by import_babilong_prompts.py.", f"template: {quoted(template)}"]
    for task in sorted(prompts, key=lambda name: int(name[2:])):
        lines.append(f"{task}:")
        for part in PARTS:
            text = prompts[task].get(part, "") if part in wanted else ""
            lines.append(f"  {part}: {quoted(text)}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default="babilong.prompts", help="module to import (default: %(default)s)")
    for part in PARTS:
        parser.add_argument("--" + part.replace("_", "-"), choices=["yes", "no"], default="yes", dest=part)
    parser.add_argument("--output", help="file to write (default: standard output)")
    options = parser.parse_args()
    try:
        module = importlib.import_module(options.module)
    except ImportError as error:
        raise SystemExit(f"cannot import {options.module}: {error}; put BABILong's folder on PYTHONPATH")
    text = prompts_yaml(module, [part for part in PARTS if getattr(options, part) == "yes"])
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
