"""Seeds derived from several numbers."""

from ftlab.seeding import derive_seed


def test_the_seed_is_the_same_on_every_machine():
    # the first 8 bytes of SHA-256 of "(1, 2, 3)", halved: printf '(1, 2, 3)' | sha256sum | head -c 16
    assert derive_seed(1, 2, 3) == 8064461727618995781


def test_seeds_tell_order_count_and_sign_apart():
    groups = [(), (0,), (0, 0), (1,), (-1,), (1, 2), (2, 1), (12,), (1, 2, 0)]
    assert len({derive_seed(*group) for group in groups}) == len(groups)


def test_near_numbers_get_seeds_that_have_nothing_in_common():
    seeds = [derive_seed(0, step) for step in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    for bit in range(63):  # each bit is set in about half of the seeds: 1000, give or take five spreads of 22
        assert abs(sum(seed >> bit & 1 for seed in seeds) - 1000) < 112
