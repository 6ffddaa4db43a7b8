#!/usr/bin/env python3
"""Renders every chat template of a folder with wavetape and with transformers, and says where they differ.

    cmake --build --preset release --target render_chat
    tests/bench/compare_chat_templates.py FOLDER --program build/release/tests/render_chat

Templates are files *.jinja, and the chat_template of every *.json: a text, or a list of named ones. Each is rendered for
the conversations below: a question alone, with a system message, several turns, with and without the assistant's header,
tools, calls and their results, documents, parts of content, thoughts, and words that templates look for. Where
transformers raises an exception, wavetape must refuse too. Needs jinja2 and transformers; exit code 1 where any differ.

--refresh tests/fixtures/chat/cases.json writes what the library makes of that file's templates into it: "text", or null
where it refuses.
"""
import argparse, datetime, json, pathlib, subprocess, sys, time

from transformers.utils import chat_template_utils

NOW = int(time.mktime((2026, 3, 4, 5, 6, 7, 0, 0, -1)))
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

USER = {"role": "user", "content": " Where is Mary?\n"}
SYSTEM = {"role": "system", "content": "Answer briefly. "}
ANSWER = {"role": "assistant", "content": "In the <b>kitchen</b>, she's \"there\"."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place\nnow",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where, e.g. Köln"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"], "description": "How many"},
                "spots": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
            },
            "required": ["place"],
        },
        "return": {"type": "string", "description": "The weather"},
    },
}
NOTHING = {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "call00001", "type": "function",
         "function": {"name": "get_weather", "arguments": {"place": "Köln", "days": 2, "spots": [], "deep": {"a": None, "b": True, "c": 1.5}}}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"sun\": true}"}
THOUGHT = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nKitchen.", "reasoning_content": "Hm, the kitchen."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "See "}, {"type": "image"}, {"type": "text", "text": "this?"}]}
TEXT_PART = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
DOCUMENTS = [{"title": "Moves", "text": "Mary went to the kitchen."}, {"title": "B", "text": "Nothing.\n"}]

CHATS = {
    "question": {"messages": [USER]},
    "question_open": {"messages": [USER], "add_generation_prompt": True},
    "system": {"messages": [SYSTEM, USER], "add_generation_prompt": True},
    "turns": {"messages": [SYSTEM, USER, ANSWER, USER], "add_generation_prompt": True},
    "turns_closed": {"messages": [USER, ANSWER, USER, ANSWER]},
    "tools": {"messages": [SYSTEM, USER], "tools": [WEATHER, NOTHING], "add_generation_prompt": True},
    "tools_without_system": {"messages": [USER], "tools": [WEATHER], "add_generation_prompt": True},
    "call": {"messages": [USER, CALL, RESULT], "tools": [WEATHER], "add_generation_prompt": True},
    "call_answered": {"messages": [SYSTEM, USER, CALL, RESULT, RESULT, ANSWER, USER, CALL], "tools": [WEATHER]},
    "call_without_tools": {"messages": [USER, CALL, RESULT, ANSWER]},
    "documents": {"messages": [USER], "documents": DOCUMENTS, "add_generation_prompt": True},
    "parts": {"messages": [PARTS], "add_generation_prompt": True},
    "text_part": {"messages": [TEXT_PART, ANSWER, TEXT_PART], "add_generation_prompt": True},
    "thought": {"messages": [USER, THOUGHT, USER], "add_generation_prompt": True},
    "thought_last": {"messages": [USER, THOUGHT]},
    "no_thinking": {"messages": [USER], "add_generation_prompt": True, "enable_thinking": False, "reasoning_effort": "low"},
    "two_questions": {"messages": [USER, USER], "add_generation_prompt": True},
    "answer_first": {"messages": [ANSWER, USER]},
    "system_late": {"messages": [USER, SYSTEM, USER], "add_generation_prompt": True},
    "odd_role": {"messages": [{"role": "judge", "content": "Order!"}]},
    "empty": {"messages": [{"role": "user", "content": ""}], "add_generation_prompt": True},
    "words": {"messages": [{"role": "user", "content": "<tool_response>/no_think <|im_end|> </think> ünï \u3000"}], "add_generation_prompt": True},
}


def templates_of(folder):
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.suffix in (".jinja", ".j2"):
            yield str(path), path.read_text(encoding="utf-8")
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            found = found.get("chat_template") if isinstance(found, dict) else None
            if isinstance(found, str):
                yield str(path), found
            for entry in found if isinstance(found, list) else []:
                yield f"{path}:{entry['name']}", entry["template"]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, tz)


def library_text(template, variables):
    variables = {"tools": None, "documents": None, "add_generation_prompt": False, **variables}
    try:
        return chat_template_utils._compile_jinja_template(template).render(**variables), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def refresh(path):
    cases = json.loads(path.read_text(encoding="utf-8"))
    for case in cases:
        case["text"], _ = library_text(case["template"], case["variables"])
    path.write_text(json.dumps(cases, ensure_ascii=True, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(cases)} cases, {sum(case['text'] is None for case in cases)} of them refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*")
    parser.add_argument("--refresh", type=pathlib.Path, help="cases to write the library's texts into")
    parser.add_argument("--program", default="build/release/tests/render_chat")
    parser.add_argument("--show", type=int, default=10, help="differences to print (default: %(default)s)")
    options = parser.parse_args()
    chat_template_utils.datetime = Clock
    if options.refresh:
        return refresh(options.refresh)
    program = subprocess.Popen([options.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counts = {"same text": 0, "both refuse": 0, "differ": 0}
    names = []
    for folder in options.folder:
        for name, template in templates_of(folder):
            names.append(name)
            for chat, variables in CHATS.items():
                variables = {"tools": None, "documents": None, "add_generation_prompt": False, **SPECIAL, **variables}
                right, refusal = library_text(template, variables)
                request = {"template": template, "variables": variables, "now": NOW}
                program.stdin.write(json.dumps(request) + "\n")
                program.stdin.flush()
                answer = json.loads(program.stdout.readline())
                if right is not None and answer.get("text") == right:
                    counts["same text"] += 1
                elif right is None and "error" in answer:
                    counts["both refuse"] += 1
                else:
                    counts["differ"] += 1
                    if counts["differ"] <= options.show:
                        print(f"{name}, {chat}:\n  right {right if right is None else json.dumps(right)} {refusal or ''}"
                              f"\n  got   {json.dumps(answer)}")
    program.stdin.close()
    print(f"{len(names)} templates, {len(CHATS)} conversations each:", ", ".join(f"{v} {k}" for k, v in counts.items()))
    return 1 if counts["differ"] or not names else 0


if __name__ == "__main__":
    sys.exit(main())
