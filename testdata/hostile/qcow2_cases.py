"""Malformed qcow2 images: the header, the tables, the clusters."""

import struct

import guest

OFFSET = 0x00FFFFFFFFFFFE00
COPIED = 1 << 63
COMPRESSED = 1 << 62


def u64(data, at):
    return struct.unpack_from(">Q", data, at)[0]


def patch(*fields):
    """A change of header fields: (offset, form, value)."""
    def change(data):
        for at, form, value in fields:
            struct.pack_into(form, data, at, value)
    return change


def l2(change):
    """A change of the first entry of the first L2 table."""
    def of(data):
        at = u64(data, u64(data, 40)) & OFFSET
        struct.pack_into(">Q", data, at, change(data, u64(data, at)))
    return of


def l1(change):
    """A change of the first entry of the L1 table."""
    def of(data):
        at = u64(data, 40)
        struct.pack_into(">Q", data, at, change(data, u64(data, at)))
    return of


def refcounts(change):
    """A change of the first entry of the refcount table."""
    def of(data):
        at = u64(data, 48)
        struct.pack_into(">Q", data, at, change(data, u64(data, at)))
    return of


def uncounted(data):
    """The cluster of guest data that holds the root's superblock is counted as free."""
    cluster = (u64(data, u64(data, u64(data, 40)) & OFFSET) & OFFSET) >> 16
    struct.pack_into(">H", data, u64(data, u64(data, 48)) + 2 * cluster, 0)


def garbage(data):
    """The first compressed cluster holds no deflate stream."""
    at = u64(data, u64(data, u64(data, 40)) & OFFSET) & (1 << 54) - 1
    data[at:at + 512] = b"\xff" * 512


def bomb(data):
    """The first compressed cluster inflates to far more than a cluster."""
    import zlib
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = deflate.compress(bytes(64 << 20)) + deflate.flush()
    table = u64(data, 40)
    at = u64(data, table) & OFFSET
    data += bytes(-len(data) % 65536)
    place = len(data)
    data += stream + bytes(-len(stream) % 65536)
    sectors = min(len(stream) // 512, 255)
    struct.pack_into(">Q", data, at, COMPRESSED | sectors << 54 | place)


def backing(data):
    data[600:611] = b"/etc/passwd"
    struct.pack_into(">QI", data, 8, 600, 11)


def snapshots(data):
    """Sixteen snapshots, and no room for them in the file."""
    struct.pack_into(">IQ", data, 60, 16, len(data) + (1 << 20))


def extension(kind, length, content=b""):
    """A header extension right after the header, over what was there."""
    def change(data):
        struct.pack_into(">II", data, u32(data, 100), kind, length)
        at = u32(data, 100) + 8
        data[at:at + len(content)] = content
    return change


def u32(data, at):
    return struct.unpack_from(">I", data, at)[0]


def data_file(data):
    struct.pack_into(">Q", data, 72, 1 << 2)
    extension(0x44415441, 11, b"/etc/passwd\0\0\0\0\0")(data)


def cut(length):
    def change(data):
        del data[length:]
    return change


# name, exit status, a word of the message, the change
PLAIN = [
    ("magic-only", 3, "truncated", cut(4)),
    ("cut-in-header", 3, "truncated", cut(60)),
    ("cut-after-header", 3, "truncated", cut(104)),
    ("cut-after-first-cluster", 3, "truncated", cut(65536)),
    ("cut-in-tables", 3, "truncated", cut(3 * 65536 + 512)),
    ("cut-in-half", 3, "truncated", lambda data: cut(len(data) // 2)(data)),
    ("cut-last-cluster", 3, "truncated", lambda data: cut(len(data) - 65536)(data)),
    ("bad-magic", 3, "qcow2", patch((0, ">I", 0x514649FC))),
    ("version-0", 3, "version", patch((4, ">I", 0))),
    ("version-1", 3, "version", patch((4, ">I", 1))),
    ("version-4", 3, "version", patch((4, ">I", 4))),
    ("cluster-bits-0", 3, "cluster", patch((20, ">I", 0))),
    ("cluster-bits-8", 3, "cluster", patch((20, ">I", 8))),
    ("cluster-bits-22", 3, "cluster", patch((20, ">I", 22))),
    ("cluster-bits-huge", 3, "cluster", patch((20, ">I", 0xFFFFFFFF))),
    ("size-zero", 3, "size", patch((24, ">Q", 0))),
    ("size-huge", 3, "L1", patch((24, ">Q", 1 << 62))),
    ("size-most", 3, "qcow2", patch((24, ">Q", (1 << 64) - 1))),
    ("l1-beyond-end", 3, "L1", patch((40, ">Q", 1 << 40))),
    ("l1-unaligned", 3, "L1", patch((40, ">Q", 0x30200))),
    ("l1-zero", 3, "L1", patch((40, ">Q", 0))),
    ("l1-overflows", 3, "L1", patch((40, ">Q", 0xFFFFFFFFFFFF0000))),
    ("l1-size-huge", 3, "L1", patch((36, ">I", 0xFFFFFFFF))),
    ("l1-size-zero", 3, "L1", patch((36, ">I", 0))),
    ("l1-entry-reserved-bits", 3, "reserved", l1(lambda _, entry: entry | 0x7F << 56)),
    ("l1-entry-unaligned", 3, "qcow2", l1(lambda _, entry: entry + 512)),
    ("l1-entry-header", 3, "qcow2", l1(lambda _, entry: COPIED)),
    ("l1-entry-beyond-end", 3, "L2 table", l1(lambda _, entry: COPIED | 1 << 40)),
    ("refcounts-beyond-end", 3, "refcount", patch((48, ">Q", 1 << 40))),
    ("refcounts-unaligned", 3, "refcount", patch((48, ">Q", 0x10200))),
    ("refcounts-zero", 3, "refcount", patch((48, ">Q", 0))),
    ("refcounts-no-clusters", 3, "refcount", patch((56, ">I", 0))),
    ("refcounts-huge", 3, "refcount", patch((56, ">I", 0xFFFFFFFF))),
    ("refcount-order-7", 3, "refcount", patch((96, ">I", 7))),
    ("refcount-block-none", 3, "refcount", refcounts(lambda _, entry: 0)),
    ("refcount-block-unaligned", 3, "refcount", refcounts(lambda _, entry: entry + 512)),
    ("refcount-block-beyond-end", 3, "refcount", refcounts(lambda _, entry: 1 << 40)),
    ("refcount-block-is-table", 3, "refcount", refcounts(lambda data, entry: u64(data, 48))),
    ("refcount-zero-of-used", 3, "refcount", uncounted),
    ("header-length-short", 3, "header", patch((100, ">I", 64))),
    ("header-length-odd", 3, "header", patch((100, ">I", 107))),
    ("header-length-huge", 3, "header", patch((100, ">I", 0xFFFFFFF8))),
    ("extension-overlong", 3, "extension", extension(0x12345678, 0xFFFFFFFF)),
    ("encryption-aes", 3, "encrypted", patch((32, ">I", 1))),
    ("encryption-luks", 3, "encrypted", patch((32, ">I", 2))),
    ("encryption-unknown", 3, "encrypt", patch((32, ">I", 77))),
    ("snapshots-beyond-end", 3, "snapshot", snapshots),
    ("snapshots-too-many", 3, "snapshot", patch((60, ">I", 0xFFFFFFFF))),
    ("snapshots-in-header", 3, "snapshot", patch((60, ">I", 1), (64, ">Q", 0))),
    ("backing-file", 3, "backing", backing),
    ("backing-name-far", 3, "backing", patch((8, ">Q", 1 << 40), (16, ">I", 11))),
    ("backing-name-huge", 3, "backing", patch((8, ">Q", 600), (16, ">I", 0xFFFFFFFF))),
    ("data-file", 3, "data file", data_file),
    ("dirty", 0, "", patch((72, ">Q", 1))),
    ("corrupt", 3, "corrupt", patch((72, ">Q", 2))),
    ("compression-bit-alone", 3, "compression", patch((72, ">Q", 1 << 3))),
    ("compression-unknown", 3, "compression", patch((72, ">Q", 1 << 3), (104, ">B", 9))),
    ("entries-half-as-long", 3, "no root filesystem", patch((72, ">Q", 1 << 4))),
    ("feature-unknown", 3, "bit 63", patch((72, ">Q", 1 << 63))),
    ("cluster-is-header", 3, "qcow2", l2(lambda _, entry: COPIED)),
    ("cluster-is-l1", 3, "qcow2", l2(lambda data, entry: COPIED | u64(data, 40))),
    ("cluster-is-refcounts", 3, "qcow2", l2(lambda data, entry: COPIED | u64(data, 48))),
    ("cluster-beyond-end", 3, "end of the file", l2(lambda _, entry: COPIED | 1 << 40)),
    ("cluster-unaligned", 3, "qcow2", l2(lambda _, entry: entry + 512)),
    ("cluster-reserved-bits", 3, "qcow2", l2(lambda _, entry: entry | 0x3E)),
    ("cluster-shared", 3, "qcow2", l2(lambda data, entry: u64(data, (u64(data, u64(data, 40)) & OFFSET) + 8))),
    ("cluster-compressed-beyond", 3, "qcow2", l2(lambda _, entry: COMPRESSED | 1 << 40)),
]
COMPRESSED_CASES = [
    ("compressed-garbage", 3, "compressed", garbage),
    ("compressed-bomb", 3, "compressed", bomb),
]


def cases(raw):
    for base, listed in [(guest.qcow2(raw), PLAIN), (guest.qcow2(raw, "-c"), COMPRESSED_CASES)]:
        for name, status, word, change in listed:
            data = bytearray(base)
            change(data)
            yield f"qcow2-{name}.qcow2", status, word, data
