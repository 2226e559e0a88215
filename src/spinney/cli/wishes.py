"""From the options of the command to `Settings` and the options of a transfer."""

from __future__ import annotations

from typing import Any

from spinney.config import Settings, TransferOptions


def settings(options: dict[str, Any]) -> Settings:
    return Settings(
        port=options["port"],
        interface=options["interface"],
        up_bytes_per_s=options["up"],
        down_bytes_per_s=options["down"],
        lan=not options["no_lan"],
        ttl=options["ttl"],
    )


def transfer_options(options: dict[str, Any]) -> TransferOptions:
    return TransferOptions(
        peers=options["peers"],
        trackers=options["trackers"],
        lan=not options["no_lan"],
        seed_ratio=options["seed_ratio"],
        seed_time_s=options["seed_time"],
        multicast=not options["no_multicast"],
        multicast_only=options["multicast_only"],
        group=options["group"],
        rate_bytes_per_s=options["rate"],
    )
