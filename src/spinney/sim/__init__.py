"""A simulated world: an event loop with a virtual clock, hosts, links, NATs, faults, disks.

    from spinney.sim import Link, Uniform, World

    world = World(seed=1, link=Link(latency=Uniform(0.01, 0.08), loss=0.02))
    alice, bob = world.host("alice"), world.host("bob")
    world.run(scenario(alice, bob))        # ordinary asyncio code, handed a `Host`
    world.digest()                         # the same for the same seed

Code that takes a `Host` cannot tell it from the real one, but for the time it takes.
docs/decisions/simulator.md says what is modelled and what is not.
"""

from spinney.sim.host import SimHost
from spinney.sim.links import Constant, Exponential, Link, LogNormal, Uniform
from spinney.sim.loop import Livelock, NotSimulated, SimLoop, SimulationError, Stalled
from spinney.sim.nat import Nat
from spinney.sim.radio import Radio
from spinney.sim.segments import Segment
from spinney.sim.trace import Trace
from spinney.sim.world import World

__all__ = [
    "Constant",
    "Exponential",
    "Link",
    "Livelock",
    "LogNormal",
    "Nat",
    "NotSimulated",
    "Radio",
    "Segment",
    "SimHost",
    "SimLoop",
    "SimulationError",
    "Stalled",
    "Trace",
    "Uniform",
    "World",
]
