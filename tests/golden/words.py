"""evenkeel's random words, written out: Philox4x32-10, and the normal number that a word stands for, in 30 digits."""

import mpmath

mpmath.mp.dps = 30


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def word(seed, purpose, layer, step, element):
    counter = (element // 64) * 16 + element % 16
    words = philox([counter & 0xFFFFFFFF, counter >> 32, step, purpose << 24 | layer], [seed & 0xFFFFFFFF, seed >> 32])
    return words[element // 16 % 4]


def normal(w):
    p = (mpmath.mpf(w) + mpmath.mpf(1) / 2) / 2**32
    return float(mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1))


assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
