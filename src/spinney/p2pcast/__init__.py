"""P2PCast: one stream to many through a forest in which everybody uploads what it downloads.

Source: the P2PCast paper, sections 2 to 5 and 7.  The stream is f stripes, each goes down a
tree of its own over all peers; a peer is an inner node of one tree and a leaf of the others.

    plans/: what a newcomer, a leaving peer or a fallen one's neighbours do

    joining   leaving   seniority          planners: generators that yield whom they ask, are sent
       |         |          |              its `Sight`, and return a `Plan` of few peers
    cohorts  extracting  lodging           incomplete peers together; the reverse of a join; a leaf
       |         |          |              in a tree that its parent does not own
    scouting --- draft --- place           what contacts tell; a change as it is made; a place

    forest    the model world of tests and experiments: answers planners, applies plans, counts
    checks    every rule with its name; `whole`, and `around` what a change touched
    layout    the source places few peers itself    special   the always-a-leaf node's statistics
    literal   the paper's text to the letter, to show what becomes of it

Limits: 2 to 16 stripes; 0 to f spare slots a peer; a search for a substitute asks 48 peers, a walk
to a leaf 40 at each try; the source lays out at most 6 f peers.

    and what carries them out between peers:

    node  source                           one participant; the source with the special node
       |     |
    station  seat  mending                 who hears, beats and answers; its own place; an orphan
       |       |
    changing  transactions                 a planner over the network; lock, apply, undo, in doubt
       |
    looking  calling                       many peers asked at once; a lost call sent again
       |
    messages  codec  book                  calls under the paper's names; addresses of names
    viewer  at_registry  carried           a peer by its link; a source with its registry

    trust/: who is believed              registry/: who is in a stream (`spinney registry`)

State: the protocol runs in the simulator, on loopback, and with each node a process of its own.
Not built yet: stripes that carry data.  Without spare slots churn is not mended in every case.

To try it: `spinney lab run p2pcast-forest`, `p2pcast-literal`, `p2pcast-age`, `p2pcast-churn`,
`p2pcast-nat`, `p2pcast-disaster`, `p2pcast-sybil`, `p2pcast-cheat`, `p2pcast-beside`.
docs/decisions/p2pcast*.md say where it departs from the paper, and why.
"""
