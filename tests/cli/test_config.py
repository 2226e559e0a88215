"""RATE, SECONDS and SIZE as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.config import parse_rate, parse_seconds, parse_size
from spinney.errors import UsageError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500k", 500_000),
        ("2M", 2_000_000),
        ("1.5m", 1_500_000),
        ("1G", 1e9),
        ("800000", 800_000),
        ("5MB/s", 5_000_000),
        ("0", None),
        ("none", None),
    ],
)
def test_a_rate_is_bytes_a_second_and_k_is_1000(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_a_time(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("262144", 1 << 18), ("256k", 1 << 18), ("1M", 1 << 20), ("1MiB", 1 << 20)]
)
def test_a_size_is_in_powers_of_two(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("parse", [parse_rate, parse_seconds, parse_size])
@pytest.mark.parametrize("text", ["", "fast", "-1", "1x", "nan", "inf", "1e99", "k", "1 2", "١"])
def test_anything_else_is_wrong_usage(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(UsageError, match=r"is no (rate|time|size)"):
        parse(text)


@given(st.text(max_size=12))
def test_any_text_parses_or_is_wrong_usage(text: str) -> None:
    for parse in (parse_rate, parse_seconds, parse_size):
        try:
            value = parse(text)
        except UsageError:
            continue
        assert value is None or 0 <= value < 1e21
