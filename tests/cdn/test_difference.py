"""What a night changes, against Python's sets."""

from hypothesis import given
from hypothesis import strategies as st

from cdn.fill import difference
from tests.fill_nights import placed

COPIES = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 9)))


def pairs(placement):
    return list(zip(placement.appliance.tolist(), placement.file.tolist(), strict=True))


@given(COPIES, COPIES)
def test_added_dropped_and_kept_are_the_set_operations(now, before):
    found = difference(placed(*now), placed(*before))
    assert pairs(found.added) == sorted(now - before)
    assert pairs(found.dropped) == sorted(before - now)
    assert pairs(found.kept) == sorted(now & before)


def test_a_move_is_an_add_and_a_drop():
    found = difference(placed((1, 0)), placed((0, 0)))
    assert (pairs(found.added), pairs(found.dropped), pairs(found.kept)) == ([(1, 0)], [(0, 0)], [])
