"""Key to partition, as every Kafka client does it: murmur2 of the key, positive, modulo the partition count.

Source: `org.apache.kafka.common.utils.Utils.murmur2`. Other clients' records of one key then land beside ours.
"""

import struct

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash bytes to an unsigned 32-bit integer."""
    length = len(data)
    h = _SEED ^ length
    words, rest = divmod(length, 4)
    for k in struct.unpack_from(f"<{words}I", data):
        k = (k * _M) & _MASK  # noqa: PLW2901  # a second name a round costs a tenth of the hash
        k = ((k ^ (k >> 24)) * _M) & _MASK  # noqa: PLW2901  # as above
        h = ((h * _M) & _MASK) ^ k
    if rest:
        h ^= int.from_bytes(data[-rest:], "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key; a record without a key goes to partition 0."""
    if key is None:
        return 0
    return (murmur2(key) & 0x7FFFFFFF) % partitions
