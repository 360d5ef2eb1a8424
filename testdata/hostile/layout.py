"""Where things lie in an ext4 image of one level of extents, and how to change them."""

import struct

ROOT = 2


def table(polynomial):
    entries = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        entries.append(byte)
    return entries


CRC32C = table(0x82F63B78)


def crc32c(data, crc=0xFFFFFFFF):
    """As ext4 counts it: seeded with ones, not inverted at the end."""
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


class Ext4:
    """An ext4 filesystem in `bytes`; offsets are of the image."""

    def __init__(self, data):
        self.data = data

    def get(self, at, form="<I"):
        return struct.unpack_from(form, self.data, at)[0]

    def put(self, at, value, form="<I"):
        struct.pack_into(form, self.data, at, value)

    def superblock(self, field, value, form="<I"):
        """Sets a field of the superblock, and its checksum where it has one."""
        self.put(1024 + field, value, form)
        self.seal_superblock()

    def seal_superblock(self):
        if self.get(1024 + 0x64) & 0x400:
            self.put(1024 + 0x3FC, crc32c(self.data[1024:1024 + 0x3FC]))

    def block(self, number):
        return number * 1024

    def descriptor(self, group):
        """The group's descriptor: the table starts in the block after the superblock's."""
        return 2048 + group * (self.get(1024 + 0xFE, "<H") or 32)

    def inode(self, number):
        per_group, size = self.get(1024 + 0x28), self.get(1024 + 0x58, "<H")
        group, index = divmod(number - 1, per_group)
        return self.block(self.get(self.descriptor(group) + 8)) + index * size

    def extent(self, number):
        """The first extent (or index entry) in the inode's body."""
        return self.inode(number) + 0x28 + 12

    def first_block(self, number):
        """The first block of a file whose extents are in its inode."""
        return self.get(self.extent(number) + 8)

    def entry(self, directory, name):
        """Where an entry of a directory of one block lies, and its inode."""
        at = start = self.block(self.first_block(directory))
        while at < start + 1024:
            inode, length, size = struct.unpack_from("<IHB", self.data, at)
            if bytes(self.data[at + 8:at + 8 + size]) == name.encode():
                return at, inode
            at += length
        raise KeyError(name)

    def find(self, path):
        """The inode of a path without links."""
        number = ROOT
        for name in path.strip("/").split("/"):
            number = self.entry(number, name)[1]
        return number
