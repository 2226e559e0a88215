"""`McftpNode`: one peer in the file management group of one file.

How a peer wires it (all on the event loop):

    groups = IpGroups(host, interfaces=(), hops=1)
    directory = LanDirectory(host, groups, lan_address(groups))     # one for all files
    await directory.start()                                         # NetworkError: no multicast
    leaderships = Leaderships(20)                                   # one for all files

    node = McftpNode(host, transfer, groups, directory, Settings(...), data=DataSettings(...),
                     leaderships=leaderships, on_event=listener)
    await node.start()            NetworkError when groups cannot be joined at all
    node.begin()                  sharer: start sending now, whoever has joined (a key press)
    node.view()                   `View`: receivers, leader, streams, for the progress display
    await node.enough.wait()      set when `until_complete` receivers have everything
    await node.close()            polite: says that it goes, hands leadership over, gives leases
                                  back

`transfer` is a started `Transfer`; the node attaches to it as the way `multicast` while it
follows streams, and offers what is verified, whoever brought it.  A downloader looks for the
group and tries again with a back-off; a provider, also a partial one (a downloader becomes one
with its first block), founds the group when there is none.

`on_event` gets `McftpEvent`s: `leader` (who leads, and is it us), `group` (joined at which
address), `started`, `warning` (one line for the user: multicast does not work here, streams have
stopped, ...).  Several files on one peer are several nodes with one directory and one
`Leaderships`.
"""
