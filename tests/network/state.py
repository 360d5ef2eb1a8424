"""What cloud-init hands to its renderers of files: a JSON list of network configurations as YAML texts on standard input, a JSON list on
standard output, of an object for each, with what it knows of the devices by their names."""
import json
import os
import sys

import yaml
from cloudinit.net import network_state


def known(text):
    state = network_state.parse_net_config_data(yaml.safe_load(text)["network"])
    devices = {}
    for device in state.iter_interfaces():
        subnets = device.get("subnets") or []
        facts = {"MTU %s" % device["mtu"]} if device.get("mtu") else set()
        for key, name in [
            ("mac_address", "known by"),
            ("bond-master", "in"),
            ("vlan-raw-device", "over"),
            ("vlan_id", "tag"),
        ]:
            if device.get(key) is not None:
                facts.add("%s %s" % (name, device[key]))
        # Members have a copy of these.
        for key, name in [("bond-mode", "mode"), ("bond-primary", "primary")]:
            if device.get(key) is not None and "bond-master" not in device:
                facts.add("%s %s" % (name, device[key]))
        facts |= {"port %s" % port for port in device.get("bridge_ports") or []}
        if device.get("accept-ra") is not None:
            facts.add("accept-ra %s" % device["accept-ra"])
        facts |= {"DNS %s" % server for server in device.get("dns", {}).get("nameservers") or []}
        for subnet in subnets:
            if subnet["type"].startswith("static"):
                facts.add("address %s/%s" % (subnet["address"], subnet["prefix"]))
            else:
                facts.add(subnet["type"])
            if subnet.get("gateway"):
                facts.add("route %s via %s" % ("::/0" if ":" in subnet["gateway"] else "0.0.0.0/0", subnet["gateway"]))
            facts |= {"DNS %s" % server for server in subnet.get("dns_nameservers") or []}
            for route in subnet.get("routes") or []:
                more = sorted((key, value) for key, value in route.items() if key not in ("network", "prefix", "netmask", "gateway"))
                facts.add("route %s/%s via %s%s" % (route["network"], route["prefix"], route.get("gateway"), more or ""))
        devices[device["name"]] = sorted(facts)
    return devices


answers = os.dup(1)
os.dup2(2, 1)
results = [known(text) for text in json.load(sys.stdin)]
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
