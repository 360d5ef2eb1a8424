"""What wicked knows of the devices: a JSON list of its `show-config` documents on standard input, a JSON list on standard output, of an
object for each, with what is said of the devices by their names. A device that nothing is said of but that it is a part is left out."""
import json
import sys
import xml.etree.ElementTree as xml

BOND = [("mode", "mode"), ("miimon/frequency", "miimon"), ("miimon/updelay", "updelay"), ("miimon/downdelay", "downdelay"),
        ("primary", "primary"), ("lacp-rate", "rate"), ("ad-select", "select"), ("xmit-hash-policy", "policy"), ("min-links", "least")]
BRIDGE = ["stp", "priority", "forward-delay", "hello-time", "max-age", "aging-time"]


def known(interface):
    facts = {interface.findtext("control/mode")}
    if interface.findtext("control/link-detection/require-link") == "false":
        facts.add("needs no carrier")
    for path, word in [("link/mtu", "mtu"), ("link/master", "in"), (".//address", "address")]:
        for found in interface.findall(path):
            if found.text and found.text.strip():
                facts.add("%s %s" % (word, found.text.lower()))
    bond = interface.find("bond")
    for path, word in BOND if bond is not None else []:
        if bond.find(path) is not None:
            facts.add("%s %s" % (word, bond.findtext(path)))
    bridge = interface.find("bridge")
    for key in BRIDGE if bridge is not None else []:
        if bridge.find(key) is not None:
            facts.add("%s %s" % (key, bridge.findtext(key)))
    vlan = interface.find("vlan")
    if vlan is not None:
        facts.add("vlan %s over %s" % (vlan.findtext("tag"), vlan.findtext("device")))
    if interface.findtext("ipv6/accept-ra") in ("0", "disable") and interface.find("link/master") is None:
        facts.add("accept-ra 0")
    for version in "ipv4", "ipv6":
        static = interface.find(version + "-static")
        for address in static.findall("address/local") if static is not None else []:
            facts.add("address %s" % address.text)
        for route in static.findall("route") if static is not None else []:
            words = ["route", route.findtext("destination")]
            if route.find("nexthop/gateway") is not None:
                words += ["via", route.findtext("nexthop/gateway")]
            if route.find("priority") is not None:
                words += ["metric", route.findtext("priority")]
            facts.add(" ".join(words))
    if interface.findtext("ipv4-dhcp/enabled") == "true":
        facts.add("dhcp4")
    if interface.findtext("ipv6-dhcp/enabled") == "true":
        facts.add("dhcp6 %s" % interface.findtext("ipv6-dhcp/mode"))
    if interface.findtext("ipv6-auto/enabled") == "true":
        facts.add("auto6")
    return facts


def devices(text):
    # Its prefixes of names are of no namespace.
    for name in "ipv4", "ipv6":
        text = text.replace(name + ":", name + "-")
    return {each.findtext("name"): sorted(known(each)) for each in xml.fromstring(text).findall("interface")}


json.dump([devices(text) for text in json.load(sys.stdin)], sys.stdout)
