"""Malformed ext4: the superblock, the descriptors, extents, directories, checksums.

Most changes are to a filesystem without checksums, where nothing but sense stands in their way.
"""

import guest
from layout import Ext4, ROOT

EXTENT_MAGIC = 0xF30A


def superblock(field, value, form="<I"):
    return lambda fs: fs.superblock(field, value, form)


def bits(field, mask):
    return lambda fs: fs.superblock(field, fs.get(1024 + field) | mask)


def descriptor(field, value, form="<I"):
    return lambda fs: fs.put(fs.descriptor(0) + field, value, form)


def inode(path, field, value, form="<I"):
    return lambda fs: fs.put(fs.inode(number(fs, path)) + field, value, form)


def number(fs, path):
    return ROOT if path == "/" else fs.find(path)


def header(fs, at, entries, most, depth):
    for field, value in [(0, EXTENT_MAGIC), (2, entries), (4, most), (6, depth)]:
        fs.put(at + field, value, "<H")
    fs.put(at + 8, 0)


def extent(fs, at, logical, length, physical):
    fs.put(at, logical)
    fs.put(at + 4, length, "<H")
    fs.put(at + 6, physical >> 32, "<H")
    fs.put(at + 8, physical & 0xFFFFFFFF)


def index(fs, at, logical, child):
    fs.put(at, logical)
    fs.put(at + 4, child)
    fs.put(at + 8, 0)


def tree(path, depth, child_depth):
    """The file's extents go through its own first block, which refers to itself."""
    def change(fs):
        at, block = fs.inode(number(fs, path)) + 0x28, fs.first_block(number(fs, path))
        header(fs, at, 1, 4, depth)
        index(fs, at + 12, 0, block)
        header(fs, fs.block(block), 1, 84, child_depth)
        index(fs, fs.block(block) + 12, 0, block)
    return change


def leaf(path, *extents):
    """The file has these extents: (logical, length, physical)."""
    def change(fs):
        at = fs.inode(number(fs, path)) + 0x28
        header(fs, at, len(extents), 4, 0)
        for place, one in enumerate(extents):
            extent(fs, at + 12 + 12 * place, *one)
    return change


def onto(path, field):
    """The file's content lies where the descriptor's bitmap or table does."""
    return lambda fs: fs.put(fs.extent(number(fs, path)) + 8, fs.get(fs.descriptor(0) + field))


def onto_file(path, other):
    return lambda fs: fs.put(fs.extent(number(fs, path)) + 8, fs.first_block(number(fs, other)))


def entry(directory, name, field, value, form="<H"):
    return lambda fs: fs.put(fs.entry(number(fs, directory), name)[0] + field, value, form)


def pointed(directory, name, target):
    """The entry leads to the inode of another path."""
    return lambda fs: fs.put(fs.entry(number(fs, directory), name)[0], number(fs, target))


def renamed(directory, name, new):
    def change(fs):
        at = fs.entry(number(fs, directory), name)[0]
        fs.data[at + 8:at + 8 + len(new)] = new
    return change


def swap(fs, field):
    """A field of both descriptors, the one's value in the other."""
    one, two = fs.get(fs.descriptor(0) + field), fs.get(fs.descriptor(1) + field)
    fs.put(fs.descriptor(0) + field, two)
    fs.put(fs.descriptor(1) + field, one)


def flip(at):
    def change(fs):
        fs.data[at(fs)] ^= 1
    return change


def all_free(fs):
    """The block bitmaps say that nothing is in use; what is said to be free is, but for the metadata."""
    for group in range(2):
        at = fs.block(fs.get(fs.descriptor(group)))
        fs.data[at:at + 512] = bytes(512)


def all_inodes_free(fs):
    for group in range(2):
        at = fs.block(fs.get(fs.descriptor(group) + 4))
        fs.data[at:at + 32] = bytes(32)


def aliased(fs):
    """Both groups have one inode table, so that each inode has two numbers; /etc/motd is /etc/passwd by the other one."""
    at, _ = fs.entry(fs.find("/etc"), "motd")
    fs.put(at, fs.find("/etc/passwd") + fs.get(1024 + 0x28))
    fs.put(fs.descriptor(1) + 8, fs.get(fs.descriptor(0) + 8))


def circle(fs):
    """Two files are the next in the list of each other."""
    one, two = fs.find("/etc/passwd"), fs.find("/etc/motd")
    fs.superblock(0xE8, one)
    fs.put(fs.inode(one) + 0x14, two)
    fs.put(fs.inode(two) + 0x14, one)


def journal(*fields):
    """The journal has to be replayed, and its superblock has these fields."""
    def change(fs):
        bits(0x60, 0x4)(fs)
        for field, value in fields:
            fs.put(fs.block(fs.first_block(8)) + field, value, ">I")
    return change


def log(*blocks):
    """The journal has to be replayed, from transaction 1 on; its log has these blocks of fields after the mark."""
    def change(fs):
        journal((0x18, 1), (0x1C, 1))(fs)
        first = fs.first_block(8)
        for place, fields in enumerate(blocks):
            at = fs.block(first + 1 + place)
            for field, value in enumerate((0xC03B3998, *fields) if fields else ()):
                fs.put(at + 4 * field, value, ">I")
    return change


# name, exit status, a word of the message, the change
PLAIN = [
    ("revision-0", 3, "revision", superblock(0x4C, 0)),
    ("log-block-size-200", 3, "block size", superblock(0x18, 200)),
    ("log-block-size-max", 3, "block size", superblock(0x18, 0xFFFFFFFF)),
    ("log-block-size-6", 3, "65536", superblock(0x18, 6)),
    ("log-cluster-size-9", 3, "cluster", superblock(0x1C, 9)),
    ("first-data-block-0", 3, "first data block", superblock(0x14, 0)),
    ("first-data-block-max", 3, "first data block", superblock(0x14, 0xFFFFFFFF)),
    ("blocks-per-group-0", 3, "blocks in a group", superblock(0x20, 0)),
    ("blocks-per-group-max", 3, "blocks in a group", superblock(0x20, 0xFFFFFFF8)),
    ("blocks-per-group-8", 3, "superblock", superblock(0x20, 8)),
    ("inodes-per-group-0", 3, "inodes in a group", superblock(0x28, 0)),
    ("inodes-per-group-max", 3, "inodes in a group", superblock(0x28, 0xFFFFFFF8)),
    ("inodes-count-0", 3, "inodes", superblock(0x0, 0)),
    ("inodes-count-max", 3, "inodes", superblock(0x0, 0xFFFFFFFF)),
    ("inode-size-0", 3, "size of an inode", superblock(0x58, 0, "<H")),
    ("inode-size-odd", 3, "size of an inode", superblock(0x58, 255, "<H")),
    ("inode-size-huge", 3, "size of an inode", superblock(0x58, 0x8000, "<H")),
    ("first-inode-max", 3, "superblock", superblock(0x54, 0xFFFFFFFF)),
    ("blocks-beyond-device", 3, "larger than its volume", superblock(0x4, 1 << 20)),
    ("blocks-most", 3, "larger than its volume", superblock(0x150, 0xFFFFFFFF)),
    ("blocks-0", 3, "superblock", superblock(0x4, 0)),
    ("descriptor-size-odd", 3, "group descriptor", superblock(0xFE, 65, "<H")),
    ("descriptor-size-0", 3, "group descriptor", superblock(0xFE, 0, "<H")),
    ("descriptor-size-huge", 3, "group descriptor", superblock(0xFE, 0x8000, "<H")),
    ("free-blocks-impossible", 3, "counters", superblock(0xC, 0x7FFFFFFF)),
    ("free-inodes-impossible", 3, "counters", superblock(0x10, 0x7FFFFFFF)),
    ("incompat-unknown", 3, "incompat 0x80000000", bits(0x60, 1 << 31)),
    ("ro-compat-unknown", 3, "ro_compat 0x80000000", bits(0x64, 1 << 31)),
    ("needs-recovery-and-nothing-to-replay", 0, "", bits(0x60, 0x4)),
    ("orphan-with-a-name", 0, "", lambda fs: superblock(0xE8, fs.find("/etc/motd"))(fs)),
    ("journal-missing", 3, "journal", lambda fs: (bits(0x60, 0x4)(fs), superblock(0x5C, fs.get(1024 + 0x5C) & ~4)(fs))),
    ("journal-elsewhere", 3, "journal_dev", superblock(0xE4, 0x801)),
    ("journal-inode-unused", 3, "journal", lambda fs: fs.put(fs.inode(8) + 0x1A, 0, "<H")),
    ("journal-inode-outside", 3, "inode", superblock(0xE0, 0x7FFFFFFF)),
    ("journal-of-another-file", 3, "journal", lambda fs: superblock(0xE0, fs.find("/etc/passwd"))(fs)),
    ("journal-magic", 3, "journal", journal((0, 0))),
    ("journal-block-size", 3, "journal", journal((0xC, 4096))),
    ("journal-length-0", 3, "journal", journal((0x10, 0))),
    ("journal-length-max", 3, "journal", journal((0x10, 0xFFFFFFFF))),
    ("journal-first-0", 3, "journal", journal((0x14, 0))),
    ("journal-first-max", 3, "journal", journal((0x14, 0xFFFFFFFF))),
    ("journal-start-outside", 3, "journal", journal((0x1C, 0xFFFFFFFF))),
    ("journal-incompat-unknown", 3, "incompat", journal((0x28, 0x80000000))),
    ("journal-checksums-of-three-kinds", 3, "journal", journal((0x24, 1), (0x28, 0x18))),
    ("journal-checksum-wrong", 3, "checksum", journal((0x28, 0x10), (0x50, 0x04000000))),
    ("journal-aborted", 3, "aborted", journal((0x20, 0xFFFFFFFB))),
    ("journal-not-told", 3, "journal", lambda fs: fs.put(fs.block(fs.first_block(8)) + 0x1C, 1, ">I")),
    ("log-goes-round", 3, "round", log(*[(5, 1, 16)] * 1023)),
    ("log-of-descriptors", 3, "round", log(*[(1, 1, 77, 2)] * 1023)),
    ("log-revokes-more-than-a-block", 3, "revoke", log((5, 1, 0xFFFFFFFF), (2, 1))),
    ("log-copy-outside", 3, "does not exist", log((1, 1, 0x7FFFFFFF, 0xA), (), (2, 1))),
    ("log-copy-of-block-0", 3, "does not exist", log((1, 1, 0, 0xA), (), (2, 1))),
    ("log-copy-of-itself", 3, "its own", lambda fs: log((1, 1, fs.first_block(8), 0xA), (), (2, 1))(fs)),
    ("log-copy-of-nothing-on-superblock", 3, "no ext4", log((1, 1, 1, 0xA), (), (2, 1))),
    ("fast-commit-area-too-long", 3, "journal", journal((0x28, 0x20), (0x54, 0x7FFFFFFF))),
    ("journal-device", 3, "jbd", bits(0x60, 0x8)),
    ("error-state", 3, "errors", superblock(0x3A, 2, "<H")),
    ("not-unmounted", 3, "not unmounted", superblock(0x3A, 0, "<H")),
    ("orphans-outside", 3, "deleted files", superblock(0xE8, 0x7FFFFFFF)),
    ("orphan-reserved", 3, "deleted files", superblock(0xE8, 8)),
    ("orphan-unused", 3, "deleted files", lambda fs: superblock(0xE8, fs.get(1024))(fs)),
    ("orphans-in-a-circle", 3, "twice", circle),
    ("orphan-file-missing", 3, "orphan_file", bits(0x64, 0x10000)),
    ("orphan-file-is-another", 3, "orphan", lambda fs: (bits(0x64, 0x10000)(fs), bits(0x5C, 0x1000)(fs), superblock(0x280, fs.find("/etc/passwd"))(fs))),
    ("mmp-elsewhere", 3, "outside", lambda fs: (bits(0x60, 0x100)(fs), superblock(0x16C, 7)(fs))),
    ("mmp-is-none", 3, "mmp", lambda fs: (bits(0x60, 0x100)(fs), superblock(0x168, fs.first_block(8) + 1)(fs))),
    ("checksum-kind-unknown", 3, "checksum", lambda fs: (bits(0x64, 0x400)(fs), fs.superblock(0x175, 7, "<B"))),

    ("block-bitmap-outside", 3, "outside", descriptor(0, 0x7FFFFFFF)),
    ("block-bitmap-on-superblock", 3, "outside", descriptor(0, 1)),
    ("inode-bitmap-outside", 3, "outside", descriptor(4, 0x7FFFFFFF)),
    ("inode-table-outside", 3, "outside", descriptor(8, 0x7FFFFFFF)),
    ("inode-table-over-end", 3, "outside", descriptor(8, 8190)),
    ("inode-table-on-descriptors", 3, "group", descriptor(8, 2)),
    ("bitmaps-in-one-place", 3, "group", lambda fs: fs.put(fs.descriptor(0) + 4, fs.get(fs.descriptor(0)))),
    ("bitmaps-swapped", 3, "group", lambda fs: swap(fs, 0)),
    ("tables-swapped", 3, "", lambda fs: swap(fs, 8)),
    ("motd-is-passwd-by-another-number", 3, "inode table", aliased),
    ("group-free-blocks-impossible", 3, "counters", descriptor(0xC, 0xFFFF, "<H")),
    ("group-free-blocks-lie", 3, "group", descriptor(0xC, 7, "<H")),
    ("block-bitmap-all-free", 3, "", all_free),
    ("inode-bitmap-all-free", 3, "", all_inodes_free),

    ("root-is-a-file", 3, "", inode("/", 0, 0x81A4, "<H")),
    ("root-is-nothing", 3, "", inode("/", 0, 0, "<H")),
    ("root-deleted", 3, "", inode("/", 0x1A, 0, "<H")),
    ("etc-without-extents", 3, "/etc", inode("/etc", 0x20, 0)),
    ("etc-size-huge", 3, "/etc", inode("/etc", 0x6C, 0x7FFFFFFF)),
    ("etc-size-0", 3, "", inode("/etc", 0x4, 0)),
    ("etc-size-odd", 3, "/etc", inode("/etc", 0x4, 1000)),
    ("extent-magic", 3, "extents", inode("/etc", 0x28, 0x1234, "<H")),
    ("extent-entries-many", 3, "extents", inode("/etc", 0x2A, 5000, "<H")),
    ("extent-room-many", 3, "extents", inode("/etc", 0x2C, 5000, "<H")),
    ("extent-depth-6", 3, "extents", tree("/etc/passwd", 6, 5)),
    ("extent-depth-1000", 3, "extents", tree("/etc/passwd", 1000, 999)),
    ("extent-cycle-same-depth", 3, "extents", tree("/etc/passwd", 5, 5)),
    ("extent-cycle", 3, "extents", tree("/etc/passwd", 5, 4)),
    ("extent-cycle-directory", 3, "extents", tree("/etc", 5, 4)),
    ("extent-overlap", 3, "extents", leaf("/etc/passwd", (0, 2, 3000), (1, 2, 3010))),
    ("extent-unsorted", 3, "extents", leaf("/etc/passwd", (5, 1, 3000), (0, 1, 3010))),
    ("extent-length-0", 3, "extents", leaf("/etc/passwd", (0, 0, 3000))),
    ("extent-outside", 3, "extents", leaf("/etc/passwd", (0, 1, 1 << 40))),
    ("extent-over-end", 3, "extents", leaf("/etc/passwd", (0, 100, 8191))),
    ("extent-wraps", 3, "extents", leaf("/etc/passwd", (0xFFFFFFFF, 100, 3000))),
    ("extent-on-superblock", 3, "extents", leaf("/etc/shadow", (0, 1, 1))),
    ("extent-on-descriptors", 3, "", leaf("/etc/shadow", (0, 1, 2))),
    ("extent-on-block-bitmap", 3, "", onto("/etc/motd", 0)),
    ("extent-on-inode-bitmap", 3, "", onto("/etc/motd", 4)),
    ("extent-on-inode-table", 3, "", onto("/etc/motd", 8)),
    ("extent-on-directory", 3, "", onto_file("/etc/motd", "/etc")),
    ("etc-on-inode-table", 3, "/etc", onto("/etc", 8)),
    ("etc-on-root", 3, "", onto_file("/etc", "/")),

    ("entry-length-0", 3, "director", entry("/etc", "shadow", 4, 0)),
    ("entry-length-odd", 3, "director", entry("/etc", "shadow", 4, 17)),
    ("entry-length-over", 3, "director", entry("/etc", "shadow", 4, 4096)),
    ("entry-length-short", 3, "director", entry("/etc", "shadow", 4, 8)),
    ("entry-name-long", 3, "director", entry("/etc", "shadow", 6, 255, "<B")),
    ("entry-name-empty", 3, "director", entry("/etc", "shadow", 6, 0, "<B")),
    ("entry-name-slash", 3, "director", renamed("/etc", "shadow", b"../x")),
    ("entry-name-nul", 3, "director", renamed("/etc", "shadow", b"sh\0dow")),
    ("entry-beyond-count", 3, "inode", entry("/", "etc", 0, 100000, "<I")),
    ("entry-to-inode-max", 3, "inode", entry("/", "etc", 0, 0xFFFFFFFF, "<I")),
    ("entry-to-bad-blocks", 3, "inode", entry("/", "etc", 0, 1, "<I")),
    ("entry-to-journal", 3, "inode", entry("/etc", "motd", 0, 8, "<I")),
    ("entry-to-resize", 3, "inode", entry("/etc", "motd", 0, 7, "<I")),
    ("entry-to-free-inode", 3, "inode", entry("/etc", "motd", 0, 500, "<I")),
    ("etc-is-root", 3, "/etc", pointed("/", "etc", "/")),
    ("root-below-itself", 3, "", pointed("/", "srv", "/")),
    ("no-dot-dot", 3, "director", renamed("/etc", "..", b"xy")),

    ("extra-size-huge", 3, "", inode("/etc/shadow", 0x80, 0xFFFC, "<H")),
    ("extra-size-odd", 3, "extra fields", inode("/etc/shadow", 0x80, 33, "<H")),
    ("links-0", 3, "", inode("/etc/shadow", 0x1A, 0, "<H")),
    ("mode-of-nothing", 3, "", inode("/etc/shadow", 0, 0x01A4, "<H")),
    ("file-size-max", 3, "", inode("/etc/passwd", 0x6C, 0xFFFFFFFF)),
]

SUMMED = [
    ("superblock", 3, "checksum", flip(lambda fs: 1024 + 0x78)),
    ("descriptor", 3, "checksum", flip(lambda fs: fs.descriptor(0) + 0xC)),
    ("descriptor-of-other-group", 3, "checksum", flip(lambda fs: fs.descriptor(1) + 0xC)),
    ("inode", 3, "checksum", flip(lambda fs: fs.inode(fs.find("/etc")) + 0x10)),
    ("root-inode", 3, "checksum", flip(lambda fs: fs.inode(ROOT) + 0x10)),
    ("directory", 3, "checksum", flip(lambda fs: fs.block(fs.first_block(fs.find("/etc"))) + 8)),
    ("block-bitmap", 3, "checksum", flip(lambda fs: fs.block(fs.get(fs.descriptor(0))) + 500)),
    ("inode-bitmap", 3, "checksum", flip(lambda fs: fs.block(fs.get(fs.descriptor(0) + 4)) + 30)),
]


def cases(raw):
    summed = guest.ext4("64bit,metadata_csum")
    for prefix, base, listed in [("ext4", raw, PLAIN), ("ext4-checksum", summed, SUMMED)]:
        for name, status, word, change in listed:
            fs = Ext4(bytearray(base))
            change(fs)
            yield f"{prefix}-{name}.img", status, word, fs.data
