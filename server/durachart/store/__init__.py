"""Where instances live: the schema, its migrations, and the only SQL of the service.

`interface` says what a store promises, `sqlite` is the embedded one. Rows are plain tuples (`rows`), so that
a store can be a thread with a driver or a pool of connections, and the code that judges events knows neither.
"""
