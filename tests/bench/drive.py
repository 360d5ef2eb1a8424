"""What making a config drive costs, beside genisoimage and mkfs.vfat with mcopy, of the same files."""

import json
import os
import shutil
import subprocess
import uuid

from measure import Cost, peak_rss, timed

MANY = 1000


def instance(number):
    return {
        "instance": {
            "uuid": str(uuid.UUID(int=number)),
            "hostname": f"web-{number}",
            "key_name": "bench",
            "key_data": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDlupvmsDyDQUo90KjWHvxl6pLl7jje9Rk4mVE9qlbt bench@imgraft",
            "user_data": "#cloud-config\npackage_update: true\n",
            "metadata": {"role": "web"},
        },
        "files": [{"path": "/etc/motd", "contents": "put here by imgraft\n"}],
    }


def contestants(binary, scratch):
    """Name, command and result of each; the tree is the one that imgraft makes of the instance."""
    document = os.path.join(scratch, "instance.json")
    with open(document, "w") as file:
        json.dump(instance(1), file)
    create = [binary, "config-drive", "create", document, "-q", "--force", "-o"]
    iso, image = os.path.join(scratch, "ours.iso"), os.path.join(scratch, "ours.img")
    found = [
        ("imgraft, iso9660", [*create, iso], iso),
        ("imgraft, vfat", [*create, image, "--format", "vfat"], image),
    ]
    timed(found[0][1], os.path.join(scratch, "log"))
    tree = os.path.join(scratch, "tree")
    subprocess.run([binary, "config-drive", "extract", iso, tree], check=True, stdout=subprocess.DEVNULL)
    if shutil.which("genisoimage"):
        theirs = os.path.join(scratch, "theirs.iso")
        flags = "-ldots -allow-lowercase -allow-multidot -l -publisher Nova -quiet -J -r -V config-2".split()
        found.append(("genisoimage", ["genisoimage", "-o", theirs, *flags, tree], theirs))
    if shutil.which("mkfs.vfat") and shutil.which("mcopy"):
        theirs = os.path.join(scratch, "theirs.img")
        script = os.path.join(scratch, "vfat.sh")
        with open(script, "w") as file:
            file.write(f"set -e\nrm -f {theirs}\ntruncate -s 64M {theirs}\nmkfs.vfat -n config-2 {theirs}\nmcopy -s -i {theirs} {tree}/ec2 {tree}/openstack ::\n")
        found.append(("mkfs.vfat and mcopy", ["sh", script], theirs))
    return found


def many(binary, scratch, log, runs):
    lines = os.path.join(scratch, "instances.jsonl")
    with open(lines, "w") as file:
        for number in range(MANY):
            file.write(json.dumps(instance(number + 1)) + "\n")
    rows = []
    for kind, suffix in (("iso9660", "iso"), ("vfat", "img")):
        out = os.path.join(scratch, "many")
        argv = [binary, "config-drive", "create", "--instances", lines, "-q", "--format", kind, "-o", os.path.join(out, "{uuid}." + suffix)]
        cost = Cost()
        for _ in range(runs):
            os.mkdir(out)
            cost.add(*timed(argv, log))
            used = int(subprocess.run(["du", "-sk", out], check=True, capture_output=True, text=True).stdout.split()[0])
            shutil.rmtree(out)
        os.mkdir(out)
        rss = peak_rss(argv, log)
        shutil.rmtree(out)
        rows.append([f"imgraft, {MANY} drives in one process, {kind}", str(len(cost)), *cost.row(), f"{rss:.1f}", f"{used}"])
    return rows


def tables(options, scratch, table):
    """The runs are interleaved, so that a drift of the machine hits all."""
    log = os.path.join(scratch, "log")
    racers = [(name, argv, path, Cost()) for name, argv, path in contestants(options.binary, scratch)]
    rss = {name: peak_rss(argv, log) for name, argv, _, _ in racers}
    for _ in range(options.runs):
        for _, argv, _, cost in racers:
            cost.add(*timed(argv, log))
    rows = []
    for name, _, path, cost in racers:
        rows.append([name, str(len(cost)), *cost.row(), f"{rss[name]:.1f}", str(os.stat(path).st_blocks // 2)])
    rows += many(options.binary, scratch, log, options.slow_runs)
    print("\n### A config drive (imgraft makes the documents too, and makes the drive durable)\n")
    table(["", "N", "median ms", "min", "max", "user+sys ms", "peak RSS MiB", "KiB on disk"], rows)
