"""The experiments on the forest, small."""

from __future__ import annotations

from random import Random
from typing import Any

from spinney import lab
from spinney.lab._trees import depths, hops_until, lacking, one_tree, random_stripes


def row(name: str, seed: int = 0, **parameters: Any) -> dict[str, Any]:
    result = lab.replay(name, seed, parameters)
    assert not result.error, result.error
    return dict(result.rows[0])


def test_the_forest_stands_between_the_complete_tree_and_random_stripes() -> None:
    small = {"peers": 200, "stripes": 4, "churn": 20}
    rows = {
        shape: row("p2pcast-forest", shape=shape, **small)
        for shape in ("forest", "complete", "one-tree", "random-stripes")
    }
    forest = rows["forest"]
    assert (
        rows["complete"]["depth_max"] <= forest["depth_max"] < rows["random-stripes"]["depth_max"]
    )
    assert forest["hops_p99"] <= rows["complete"]["hops_p99"] + 1
    assert forest["plain_share"] > 0.5
    assert forest["join_edges"] < 2 * 4
    assert forest["most_children"] <= 5
    assert forest["mend_edges"] > 0


def test_spare_slots_make_joins_and_failures_cheaper() -> None:
    small = {"peers": 200, "stripes": 8, "churn": 30}
    exact, spare = (row("p2pcast-forest", spare=spare, **small) for spare in (0, 2))
    assert exact["join_edges"] == 16
    assert spare["join_edges"] < 13
    assert spare["leave_edges"] < 0.8 * exact["leave_edges"]


def test_the_literal_text_breaks() -> None:
    found = row("p2pcast-literal", peers=100)
    assert 0 < found["first_broken"] <= found["first_cut_off"]
    assert found["rule"]
    assert found["cut_off"] > 0


def test_the_rule_of_age_spares_interruptions() -> None:
    small = {"peers": 60, "hours": 0.5}
    without, with_rule = (row("p2pcast-age", rule=rule, **small) for rule in ("none", "sink"))
    name = "interruptions_per_old_hour"
    assert with_rule[name] < without[name]


def test_other_trees_are_what_they_say() -> None:
    rng = Random(1)
    (single,) = one_tree(300, 4, rng)
    assert max(single.count(parent) for parent in range(300)) <= 4
    assert depths([-1, 0, 1, 0]) == [1, 2, 3, 2]
    assert lacking([[-1, 0, 1, 0]], {1}) == [0, 1, 0]
    assert hops_until([[1, 2, 3], [3, 2, 1]], 1) == [1, 1, 2]
    trees, fallbacks = random_stripes(200, 4, 1, rng)
    for stripe, parents in enumerate(trees):
        owners = {parent % 4 for parent in parents if parent >= 0}
        assert fallbacks or owners == {stripe}
        assert parents.count(-1) == 1


def test_beside_other_trees_on_the_same_trace() -> None:
    """All three mend what falls; in one tree many send nothing and the others twice as much."""
    result = lab.replay("p2pcast-beside", 0, {"peers": 30, "minutes": 0.5, "churn": 0.1})
    assert not result.error, result.error
    rows: dict[str, dict[str, Any]] = {str(found["system"]): dict(found) for found in result.rows}
    ours, shape, one = (rows[each] for each in ("P2PCast", "SplitStream's shape", "SpreadIt"))
    assert all(0.7 < found["lack_none"] <= 1 for found in rows.values())
    assert max(ours["upload"], shape["upload"]) <= 1.25 < one["upload"] == 2
    assert one["idle"] > 0.3 > max(ours["idle"], shape["idle"])
    assert ours["orphans"] > 0
    assert ours["without_p99_s"] < 5


def test_spare_slots_rise_until_peers_behind_nats_are_all_served() -> None:
    small: dict[str, Any] = {"peers": 40, "closed": 0.5, "spare": 3}
    result = lab.replay("p2pcast-nat", 1, small)
    assert not result.error, result.error
    last = result.rows[-1]
    assert last["serves_all"] is True
    assert last["unserved_closed"] == last["unserved_open"] == last["pairs_closed"] == 0


def test_a_share_falls_a_crowd_comes_and_every_rule_holds_again() -> None:
    fallen = row("p2pcast-disaster", peers=40, share=0.1)
    assert fallen["orphans"] > 0
    assert fallen["still_without"] == 0
    assert fallen["lack_none_10_s"] == 1.0
    came = row("p2pcast-disaster", event="flash", peers=30, standing=40, over_s=3.0)
    assert came["joined"] == 30
    assert came["whole_after_s"] is not None


def test_a_cheat_is_soon_no_longer_handed_out_and_at_once_if_it_is_proven() -> None:
    small: dict[str, Any] = {"peers": 16}
    shirks, lies, proven = (
        row("p2pcast-cheat", way=way, **small) for way in ("shirks", "lies", "proven")
    )
    assert 0 < proven["hidden_s"] < 1.0
    assert 0 < lies["hidden_s"] < shirks["hidden_s"] < 20.0
    assert proven["by_proof"] == 1
    for found in (shirks, lies):
        assert found["by_witnesses"] + found["by_source"] >= 1
        assert 0 < found["left_s"] < 30.0
    assert not any(found["honest_withheld"] for found in (shirks, lies, proven))


def test_many_names_upload_what_they_get() -> None:
    one, many = (row("p2pcast-sybil", peers=16, names=names) for names in (1, 4))
    assert one["names_in"] == 1
    assert many["names_in"] == 4
    assert many["sent_per_stripe_got"] > 0.4
    assert {"others_sent_per_stripe_got", "as_many_others_could_cut"} <= many.keys()
    assert many["honest_it_could_cut"] >= one["honest_it_could_cut"]
