#!/usr/bin/env python3
"""Reads a run's event files with TensorBoard's own package, and renders every text as its page would.

    pip install tensorboard
    python3 tests/bench/check_tensorboard.py RUN

Prints each tag with its steps. Fails where there is no configuration, loss or evaluation, where a configuration is not
shown as it is, or where a row of answers comes out with another number of cells.
"""
import html, re, sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.text.text_plugin import text_array_to_html
from tensorboard.util.tensor_util import make_ndarray


def main(run):
    events = EventAccumulator(run, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    scalars, texts = events.Tags()["scalars"], events.summary_metadata
    for tag in scalars:
        print(tag, [(event.step, round(event.value, 4)) for event in events.Scalars(tag)])
    for tag in events.Tags()["tensors"]:
        assert texts[tag].plugin_data.plugin_name == "text", tag
        for event in events.Tensors(tag):
            array = make_ndarray(event.tensor_proto)
            page = text_array_to_html(array, True)
            print(tag, event.step, len(page), "bytes of HTML")
            if tag == "config":
                shown = html.unescape(re.sub("<[^>]*>", "", page)).strip("\n")
                plain = "\n".join(line[4:] for line in array.item().decode().splitlines())
                assert shown == plain, f"{tag}: shown as\n{shown}"
            else:
                rows = page.count("<tr>")
                assert rows > 1 and page.count("<td>") + page.count("<th>") == 4 * rows, f"{tag}: shown as\n{page}"
    assert "config" in texts and "train/loss" in scalars, "no configuration or no loss"
    assert any(tag.startswith("eval/") for tag in scalars) and any(tag.startswith("answers/") for tag in texts)


if len(sys.argv) != 2:
    raise SystemExit(__doc__)
main(sys.argv[1])
