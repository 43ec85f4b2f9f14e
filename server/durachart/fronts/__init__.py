"""Fronts turn bytes into calls of the RPC core and its answers into bytes: gRPC, gRPC-Web and Connect.

`serving.serving` starts and stops them together. Nothing here knows what a call is about.
"""
