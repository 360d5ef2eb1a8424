"""Raw files that are no disk, and partition tables that make no sense."""

import struct
import zlib

SECTOR = 512
LINUX = bytes.fromhex("af3dc60f838472478e793d69d8477de4")


def mbr(size, *entries):
    """A disk of `size` bytes with primary partitions (kind, start, sectors)."""
    data = bytearray(size)
    record(data, 0, *entries)
    return data


def record(data, sector, *entries):
    at = sector * SECTOR
    for number, (kind, start, sectors) in enumerate(entries):
        struct.pack_into("<B3xB3xII", data, at + 446 + 16 * number, 0, kind, start, sectors)
    data[at + 510:at + 512] = b"\x55\xaa"


def on_mbr(raw, *entries, size=None):
    """The guest from sector 2048 on, and this table."""
    data = mbr(size or (1 << 20) + len(raw), *entries)
    data[1 << 20:(1 << 20) + len(raw)] = raw
    return data


def gpt(raw, partitions, *, copies=(True, True), entry_size=128, entries=128, claims=None):
    """A GPT disk with the guest from sector 2048 on. `copies` says which headers have a right checksum; `claims` is a
    number of entries that the headers claim beside the truth."""
    data = bytearray((2 << 20) + len(raw))
    data[1 << 20:(1 << 20) + len(raw)] = raw
    last = len(data) // SECTOR - 1
    record(data, 0, (0xEE, 1, last))
    array = bytearray(128 * 128)
    for number, (first, end) in enumerate(partitions):
        struct.pack_into("<16s16sQQ", array, 128 * number, LINUX, bytes([number + 1] * 16), first, end)
    crc = zlib.crc32(array[:min(entry_size * entries, len(array))])
    for mine, other, place, whole in [(1, last, 2, copies[0]), (last, 1, last - 32, copies[1])]:
        data[place * SECTOR:place * SECTOR + len(array)] = array
        head = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, mine, other, 34, last - 34,
                                     bytes([9] * 16), place, claims or entries, entry_size, crc))
        struct.pack_into("<I", head, 16, zlib.crc32(head) ^ (0 if whole else 1))
        data[mine * SECTOR:mine * SECTOR + 92] = head
    return data


def magic(mark, at=0):
    data = bytearray(1 << 20)
    data[at:at + len(mark)] = mark
    return data


def chain(length):
    """An extended partition whose boot records go on and on."""
    data = mbr(4 << 20, (0x05, 2, 8000))
    for number in range(length):
        record(data, 2 + number, (0x83, 1, 0), (0x05, number + 1, 1))
    return data


def looped():
    data = mbr(1 << 20, (0x05, 2, 2000))
    record(data, 2, (0x83, 1, 4), (0x05, 10, 20))
    record(data, 12, (0x83, 1, 4), (0x05, 0, 20))
    return data


def cases(raw):
    sectors = len(raw) // SECTOR
    usable = 2048 + sectors - 1
    yield "raw-empty.img", 3, "empty", bytearray()
    yield "raw-one-byte.img", 3, "", bytearray(b"x")
    yield "raw-tiny.img", 3, "", bytearray(b"x" * 1000)
    yield "raw-odd-size.img", 3, "", bytearray(b"x" * 70001)
    yield "raw-zeros.img", 3, "filesystem", bytearray(1 << 20)
    yield "raw-ones.img", 3, "filesystem", bytearray(b"\xff" * (1 << 20))
    for name, mark, at in [
        ("vmdk", b"KDMV", 0), ("vdi", b"\x7f\x10\xda\xbe", 0x40), ("vhdx", b"vhdxfile", 0), ("qed", b"QED\0", 0),
        ("iso", b"CD001", 0x8001), ("vhd", b"conectix", 0), ("luks", b"LUKS\xba\xbe", 0), ("xz", b"\xfd7zXZ\0", 0),
    ]:
        yield f"raw-{name}.img", 3, name, magic(mark, at)
    polyglot = bytearray(raw)
    polyglot[:4], polyglot[0x40:0x44] = b"QED\0", b"\x7f\x10\xda\xbe"
    yield "raw-polyglot.img", 3, "several formats", polyglot
    yield "guest-cut-in-half.img", 3, "larger than its volume", bytearray(raw[:len(raw) // 2])

    whole = [(2048, usable)]
    yield "gpt-both-crcs.img", 3, "GPT", gpt(raw, whole, copies=(False, False))
    yield "gpt-entries-huge.img", 3, "GPT", gpt(raw, whole, claims=0xFFFFFFFF)
    yield "gpt-entry-size-0.img", 3, "GPT", gpt(raw, whole, entry_size=0)
    yield "gpt-entry-size-odd.img", 3, "GPT", gpt(raw, whole, entry_size=129)
    yield "gpt-entry-size-huge.img", 3, "GPT", gpt(raw, whole, entry_size=0x80000000)
    yield "gpt-overlap.img", 3, "overlap", gpt(raw, [(2048, usable), (4096, usable)])
    yield "gpt-same-twice.img", 3, "overlap", gpt(raw, [(2048, usable), (2048, usable)])
    yield "gpt-beyond-end.img", 3, "partition 1", gpt(raw, [(2048, 1 << 40)])
    yield "gpt-backwards.img", 3, "partition 1", gpt(raw, [(4096, 2048)])
    yield "gpt-most-sectors.img", 3, "partition 1", gpt(raw, [(2048, (1 << 64) - 1)])
    yield "gpt-over-itself.img", 3, "partition 1", gpt(raw, [(1, usable)])
    cut = gpt(raw, whole)
    yield "gpt-cut.img", 3, "gpt", cut[:4 << 20]
    two = gpt(raw, [(2048, 2048 + sectors - 1)])
    del two[(1 << 20) + len(raw):]
    yield "gpt-no-backup-cut.img", 3, "GPT", two

    yield "mbr-no-root.img", 3, "root", on_mbr(bytes(len(raw)), (0x83, 2048, sectors))
    yield "mbr-out-of-range.img", 3, "partition 1", on_mbr(raw, (0x83, 2048, 0xFFFFFFF0))
    yield "mbr-start-beyond.img", 3, "partition 1", on_mbr(raw, (0x83, 0xFFFFFFF0, 0xFFFFFFF0))
    yield "mbr-overlap.img", 3, "overlap", on_mbr(raw, (0x83, 2048, sectors), (0x83, 4096, 100))
    yield "mbr-over-table.img", 3, "partition 1", on_mbr(raw, (0x83, 0, 100))
    yield "mbr-extended-loop.img", 3, "partition", looped()
    yield "mbr-extended-long.img", 3, "partition", chain(400)
    both = on_mbr(raw, (0x83, 2048, sectors), (0x83, 2048 + sectors, sectors), size=(1 << 20) + 2 * len(raw))
    both[(1 << 20) + len(raw):] = raw
    yield "mbr-two-roots.img", 3, "several", both
