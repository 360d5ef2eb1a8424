"""What cloud-init makes of drives: a JSON list of jobs on standard input, a JSON list of results on standard output.

A job: {"directory": the files of a drive, "layout": "openstack" | "nocloud", "names": {MAC address: interface}}. Nothing outside of a
temporary directory is written: what a guest would write on its first boot is only listed.
"""
import argparse
import base64
import copy
import json
import os
import pathlib
import sys
import tempfile

from cloudinit import helpers, sources, util
from cloudinit.cmd.devel import net_convert
from cloudinit.config import cc_set_passwords, schema
from cloudinit.distros import debian, ug_util
from cloudinit.sources import DataSourceConfigDrive, DataSourceNoCloud
from cloudinit.sources.helpers import openstack

really_write = util.write_file
renderer_configs = copy.deepcopy(debian.Distro.renderer_configs)


def encoded(data):
    if data is None:
        return None
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def config_drive(job, paths):
    read = DataSourceConfigDrive.read_config_drive(job["directory"])
    written = {}
    util.write_file = lambda path, content, mode=0o644, **_: written.__setitem__(path, [encoded(content), mode])
    source = DataSourceConfigDrive.DataSourceConfigDrive({}, None, paths)
    source.seed_dir = job["directory"]
    source.known_macs = job["names"]
    DataSourceConfigDrive.get_previous_iid = lambda _: None
    # It would go on to the machine's own devices if the directory were not a drive.
    DataSourceConfigDrive.find_candidate_devs = lambda *_, **__: []
    found = source._get_data()
    util.write_file = really_write
    return source, found, {
        "version": read["version"],
        "network_data": read.get("networkdata"),
        "interfaces": encoded(read.get("network_config")),
        "ec2": read.get("ec2-metadata"),
        "seed": encoded(read["metadata"].get("random_seed")),
        "admin_pass": read["metadata"].get("admin_pass"),
        "files": written,
        "vendor_data": openstack_vendor_data(read),
    }


def openstack_vendor_data(read):
    return [sources.convert_vendordata(read.get("vendordata")), sources.convert_vendordata(read.get("vendordata2"))]


def nocloud(job, paths):
    source = DataSourceNoCloud.DataSourceNoCloud({}, None, paths)
    source.seed_dirs = [job["directory"]]
    source._get_devices = lambda _: []
    found = source._get_data()
    result = {"vendor_data": source.vendordata_raw and encoded(source.vendordata_raw)}
    if util.decode_binary(source.userdata_raw).startswith("#cloud-config"):
        result["cloud_config"] = cloud_config(source.userdata_raw)
    return source, found, result


class Guest:
    """Of a distribution, what its users are made by."""

    @staticmethod
    def get_default_user():
        return {"name": "pi", "lock_passwd": True, "groups": ["adm"]}


def cloud_config(text):
    import jsonschema  # noqa: F401; without it cloud-init's check says nothing

    config = util.load_yaml(text)
    # Raises for what it does not know, and for what it is going to drop.
    schema.validate_cloudconfig_schema(config, strict=True)
    users, _ = ug_util.normalize_users_groups(copy.deepcopy(config), Guest)
    passwords = config.get("chpasswd", {}).get("users", [])
    return {"config": config, "users": users, "hashes": dict(cc_set_passwords.get_users_by_type(passwords, "hash"))}


def rendered(network, kind, job, renderer):
    """The files that a Debian guest would have of it."""
    # net-convert changes them, and is meant to run once in a process.
    debian.Distro.renderer_configs = copy.deepcopy(renderer_configs)
    with tempfile.TemporaryDirectory() as out:
        path = os.path.join(out, "network.json")
        really_write(path, json.dumps(network))
        target = os.path.join(out, "guest")
        os.mkdir(target)
        with open(path) as data:
            net_convert.handle_args("net-convert", argparse.Namespace(
                network_data=data, kind=kind, directory=target, distro="debian", output_kind=renderer, debug=False,
                mac=["%s,%s" % (name, mac) for mac, name in job["names"].items()]))
        return {str(path.relative_to(target)): path.read_text() for path in pathlib.Path(target).rglob("*") if path.is_file()}


def read(job):
    with tempfile.TemporaryDirectory() as scratch:
        paths = helpers.Paths({"cloud_dir": scratch, "run_dir": scratch})
        source, found, result = (config_drive if job["layout"] == "openstack" else nocloud)(job, paths)
        network = source.network_config
        result.update({
            "found": found,
            "instance_id": source.metadata.get("instance-id"),
            "hostname": source.metadata.get("local-hostname"),
            "keys": sorted(source.get_public_ssh_keys()),
            "user_data": encoded(source.userdata_raw),
            "network": network,
        })
        if result.get("network_data"):
            result["eni"] = rendered(result["network_data"], "network_data.json", job, "eni")
            result["netplan"] = rendered(result["network_data"], "network_data.json", job, "netplan")
        elif network and job["layout"] == "nocloud":
            result["netplan"] = rendered({"network": network}, "yaml", job, "netplan")
            result["networkd"] = rendered({"network": network}, "yaml", job, "networkd")
        return result


answers = os.dup(1)
# net-convert prints, and what it prints is no answer.
os.dup2(2, 1)
sys.stdout = sys.stderr
jobs = json.load(sys.stdin)
results = []
for job in jobs:
    try:
        results.append(read(job))
    except Exception as error:
        results.append({"error": "%s: %s" % (type(error).__name__, error)})
with os.fdopen(answers, "w") as out:
    json.dump(results, out)
