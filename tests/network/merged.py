"""What cloud-init makes of the files of its own configuration: a JSON list of lists of YAML texts on standard input, each list in the order
in which the files are read; a JSON list on standard output, of whether each of them has cloud-init leave the network alone."""
import json
import sys

import yaml
from cloudinit import net, util


def stands_aside(texts):
    # As read_conf_d does: the last file comes first, and what is there already stays.
    network = util.mergemanydict([yaml.safe_load(text) for text in reversed(texts)]).get("network")
    return net.is_disabled_cfg(network)


json.dump([stands_aside(texts) for texts in json.load(sys.stdin)], sys.stdout)
