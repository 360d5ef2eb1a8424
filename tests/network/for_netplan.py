"""What cloud-init writes for netplan: a JSON list of network configurations as YAML texts on standard input, a JSON list of texts on
standard output."""
import json
import os
import pathlib
import sys
import tempfile

import yaml
from cloudinit.net import netplan, network_state


def written(text):
    # The features of this machine's netplan, if it has one, stay out of it.
    renderer = netplan.Renderer({"netplan_path": "50-cloud-init.yaml", "features": ["none"]})
    state = network_state.parse_net_config_data(yaml.safe_load(text)["network"], renderer=renderer)
    with tempfile.TemporaryDirectory() as target:
        renderer.render_network_state(state, target=target)
        return pathlib.Path(target, "50-cloud-init.yaml").read_text()


answers = os.dup(1)
os.dup2(2, 1)
results = [written(text) for text in json.load(sys.stdin)]
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
