"""What cloud-init makes of cloud-configs: a JSON list of texts on standard input, a JSON list of results on standard output.

A result: {"problem": what its schema does not allow, or null, "files": [path, content in base64, permission bits, user, group, whether it
is appended] of each of write_files, "users": as it makes them, "hostname": what Debian and Red Hat are both called, null where they differ}.
Nothing is written.
"""
import base64
import copy
import json
import sys

import jsonschema  # noqa: F401; without it cloud-init's check says nothing
from cloudinit import util
from cloudinit.config import cc_write_files, schema
from cloudinit.distros import debian, rhel, ug_util


class Guest:
    @staticmethod
    def get_default_user():
        return {"name": "debian", "lock_passwd": True}


def hostname(config):
    if not ("hostname" in config or "fqdn" in config):
        return None
    found = util.get_hostname_fqdn(config, None)
    names = set()
    for distro in (debian.Distro, rhel.Distro):
        guest = distro("guest", {}, None)
        # As cc_set_hostname.py.
        prefers = util.get_cfg_option_bool(config, "prefer_fqdn_over_hostname", None)
        if prefers is not None:
            guest.set_option("prefer_fqdn_over_hostname", prefers)
        names.add(guest._select_hostname(found[0], found[1]))
    return names.pop() if len(names) == 1 else None


def result(text):
    config = util.load_yaml(text)
    problem = None
    try:
        schema.validate_cloudconfig_schema(config, strict=True)
    except schema.SchemaValidationError as error:
        problem = str(error)
    files = []

    def write_file(path, content, omode="wb", mode=0o644, **_):
        data = content if isinstance(content, bytes) else content.encode()
        files.append([path, base64.b64encode(data).decode(), mode, omode == "ab"])

    util.write_file = write_file
    util.chownbyname = lambda path, user, group: files[-1].extend([user, group])
    cc_write_files.write_files("write_files", config.get("write_files", []), "root:root")
    users = {}
    if problem is None:
        users, _ = ug_util.normalize_users_groups(copy.deepcopy(config), Guest)
    try:
        name = hostname(config)
    except AttributeError:
        # That is asked of the machine.
        name = None
    return {"problem": problem, "files": files, "users": users, "hostname": name}


json.dump([result(text) for text in json.load(sys.stdin)], sys.stdout)
