"""Transport-neutral RPC: handlers, conversion to and from the contract, errors, identity and tracing.

A front turns bytes into a request and a `CallContext`, calls `Service.invoke_unary` or
`Service.invoke_stream`, and turns what comes back, or the `RpcError` that is raised, into bytes again.
Everything that must be the same on every front happens in between, in `service`.
"""
