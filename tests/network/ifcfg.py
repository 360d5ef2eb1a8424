"""What cloud-init's writer of ifcfg files makes of network configurations: a JSON list of YAML texts on standard input, a JSON list of
objects on standard output, each with the texts of the files by their names, or with an "error"."""
import json
import os
import pathlib
import sys
import tempfile

import yaml
from cloudinit.distros import rhel
from cloudinit.net import network_state, sysconfig


def written(text):
    state = network_state.parse_net_config_data(yaml.safe_load(text)["network"])
    with tempfile.TemporaryDirectory() as target:
        sysconfig.Renderer(rhel.Distro.renderer_configs["sysconfig"]).render_network_state(state, target=target)
        return {path.name: path.read_text() for path in pathlib.Path(target).rglob("ifcfg-*")}


answers = os.dup(1)
os.dup2(2, 1)
results = []
for config in json.load(sys.stdin):
    try:
        results.append(written(config))
    except Exception as error:
        results.append({"error": "%s: %s" % (type(error).__name__, error)})
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
