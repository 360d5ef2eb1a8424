"""What cloud-init's writer of ifcfg files makes of network configurations: a JSON list of pairs on standard input, each of a distribution
("rhel", "opensuse") and a YAML text; a JSON list of objects on standard output, each with the texts of the files by their names, or with an
"error"."""
import json
import os
import pathlib
import sys
import tempfile

import yaml
from cloudinit.distros import opensuse, rhel
from cloudinit.net import network_state, sysconfig


DISTRIBUTIONS = {"opensuse": opensuse, "rhel": rhel}


def written(distribution, text):
    state = network_state.parse_net_config_data(yaml.safe_load(text)["network"])
    with tempfile.TemporaryDirectory() as target:
        config = DISTRIBUTIONS[distribution].Distro.renderer_configs["sysconfig"]
        sysconfig.Renderer(config).render_network_state(state, target=target)
        return {path.name: path.read_text() for path in pathlib.Path(target).rglob("ifcfg-*")}


answers = os.dup(1)
os.dup2(2, 1)
results = []
for distribution, config in json.load(sys.stdin):
    try:
        results.append(written(distribution, config))
    except Exception as error:
        results.append({"error": "%s: %s" % (type(error).__name__, error)})
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
