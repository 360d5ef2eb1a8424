"""What cloud-init complains about in network configurations: a JSON list of them as YAML texts on standard input, a JSON list on standard
output, of a list for each, with what its schema and its reader say is wrong, or deprecated."""
import json
import logging
import os
import sys

import yaml
from cloudinit.config import schema
from cloudinit.net import network_state

said = []


class Listener(logging.Handler):
    def emit(self, record):
        if record.levelno > logging.INFO:
            said.append(record.getMessage())


def complaints(text):
    said.clear()
    config = yaml.safe_load(text)["network"]
    # Of netplan's own parser, which cloud-init asks where there is one, the tests ask elsewhere.
    problems = None
    if hasattr(schema, "SchemaType"):
        kind = getattr(schema.SchemaType, "NETWORK_CONFIG_V%s" % config["version"])
        problems = schema.validate_cloudconfig_schema(
            config={"network": config}, schema_type=kind, strict=False, log_deprecations=True)
    network_state.parse_net_config_data(config, skip_broken=False)
    return list(said) + ([] if problems in (None, True) else [str(problems)])


answers = os.dup(1)
os.dup2(2, 1)
root = logging.getLogger()
root.setLevel(logging.DEBUG)
root.addHandler(Listener())
results = [complaints(text) for text in json.load(sys.stdin)]
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
