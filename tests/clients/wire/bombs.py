"""Small bodies that are 10 GB when they are decoded."""

import gzip
import zlib

import brotli

SIZE = 10 * 10**9
PIECE = 16 << 20


def bomb(coding):
    return BOMBS[coding]()


def gzip_bomb():
    """Many members (RFC 1952, 2.2), each a hundred million zeros."""
    member = gzip.compress(bytes(10**8), 9, mtime=0)
    return member * (SIZE // 10**8)


def deflate_bomb():
    """One zlib stream: the same flushed stretch again and again, without a checksum that anybody gets to."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (SIZE // PIECE)


def br_bomb():
    packer = brotli.Compressor(quality=5)
    first = packer.process(bytes(PIECE)) + packer.flush()
    packer.process(bytes(PIECE)), packer.flush()
    again = packer.process(bytes(PIECE)) + packer.flush()
    return first + again * (SIZE // PIECE)


def zstd_bomb(window=20):
    """A frame (RFC 8878, 3.1.1) that says its size, of blocks that repeat one byte."""
    most, blocks = 128 << 10, SIZE // (128 << 10)
    head = b"\x28\xb5\x2f\xfd" + bytes([0b1100_0000]) + bytes([(window - 10) << 3]) + (blocks * most).to_bytes(8, "little")
    block = (most << 3 | 1 << 1).to_bytes(3, "little") + b" "
    return head + block * (blocks - 1) + (most << 3 | 1 << 1 | 1).to_bytes(3, "little") + b" "


BOMBS = {
    "gzip": gzip_bomb, "deflate": deflate_bomb, "br": br_bomb, "zstd": zstd_bomb,
    # A decoder that believes it makes a window of 2 GB first.
    "zstd-window": lambda: zstd_bomb(31),
    # A bomb in a bomb.
    "gzip, gzip": lambda: gzip.compress(gzip_bomb(), 9, mtime=0),
}
