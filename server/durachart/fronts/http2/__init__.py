"""HTTP/2 without TLS, for gRPC alone: what RFC 9113 asks of a server that pushes nothing.

    server ── listens, makes a connection for each client, drains them
      connection ── frames in: requests, and their answers' tasks
        control ── all other frames, and what a hostile peer may cost
        keepalive ── whether a silent peer is there
        streams ── which are open, how they end
        intake ── the bodies of requests: what is here, what more may come
        sender ── frames out: windows, turns, one write for each turn of the loop
        exchange ── one request and its response, as the application sees it
        headers ── HPACK, and what a request's fields mean
        frames ── bytes

Why our own: gRPC's server for asyncio takes some fifteen times the processor time for a call; a server in
another language that can be embedded let one stalled stream hold up all others of its connection. HPACK comes
from the package ``hpack``.

What always holds:

- A stream that is not read holds up its own handler, nobody else's: 64 KiB wait here, or one response that is
  larger, then its handler does.
- What a connection has sent and nobody has taken is bounded by the windows it was given.
- Complete responses that are not read are counted for each connection, so that the application can refuse.
- A stream counts against the bound of its connection until its handler has ended, so that streams that are
  reset at once cannot pile up handlers.
- Frames that cost a peer nothing are counted, and too many of them end the connection.
"""
