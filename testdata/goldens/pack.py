#!/usr/bin/env python3
"""Packs drives as Nova wrote them: pack.py FROM TO

FROM has a directory for each instance: scenario.json, tree/, order.txt (the paths in the order written), and the files that the scenario
names. TO gets scenario.json, these files, and drive.jsonl: a line for each path in that order, ["path", "text"], or
["path", null, "base64"] where the content is no text.
"""
import base64
import json
import pathlib
import shutil
import sys

source, target = map(pathlib.Path, sys.argv[1:])
for scenario in sorted(source.glob("*/scenario.json")):
    out = target / scenario.parent.name
    out.mkdir(parents=True, exist_ok=True)
    for file in scenario.parent.glob("*.json"):
        shutil.copyfile(file, out / file.name)
    lines = []
    for path in (scenario.parent / "order.txt").read_text().splitlines():
        content = (scenario.parent / "tree" / path).read_bytes()
        try:
            lines.append([path, content.decode()])
        except UnicodeDecodeError:
            lines.append([path, None, base64.b64encode(content).decode()])
    (out / "drive.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
