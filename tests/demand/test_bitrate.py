"""Ladders: sizes, and the encode a session gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.bitrate import ABR_SAFETY, build_choice, default_ladder


def test_an_hour_at_1050_kbps_is_0_4725_gb():
    ladder = default_ladder()
    sizes = ladder.sizes_gb(np.array([60.0, 120.0]))
    assert sizes.shape == (2, 10)
    assert sizes[0, ladder.profiles.index("h264-1050")] == pytest.approx(0.4725)
    assert sizes[1] == pytest.approx(2 * sizes[0])


@given(
    rates=st.lists(st.lists(st.floats(50, 50_000), min_size=1, max_size=5), min_size=1, max_size=6),
    speeds=st.lists(st.floats(10, 1e6), min_size=1, max_size=20),
    data=st.data(),
)
def test_a_session_gets_the_best_encode_that_its_throughput_carries(rates, speeds, data):
    """Against a search title by title, in any order of files."""
    title_of = np.repeat(np.arange(len(rates)), [len(r) for r in rates])
    kbps = np.concatenate([np.array(r) for r in rates])
    shuffled = np.array(data.draw(st.permutations(range(len(kbps)))))
    title_of, kbps = title_of[shuffled], kbps[shuffled]
    titles = np.array([data.draw(st.integers(0, len(rates) - 1)) for _ in speeds])
    picked = build_choice(title_of, kbps, len(rates)).pick(titles, np.array(speeds))
    for title, speed, file in zip(titles, speeds, picked, strict=True):
        own = kbps[title_of == title]
        carried = own[own <= speed * ABR_SAFETY * (1 + 1e-9)]
        clear = own[own <= speed * ABR_SAFETY * (1 - 1e-9)]
        assert title_of[file] == title
        assert kbps[file] in {carried.max(initial=0), clear.max(initial=0)} or (
            not len(clear) and kbps[file] == own.min()
        )
