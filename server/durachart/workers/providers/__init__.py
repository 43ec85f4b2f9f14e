"""Language models behind one small protocol.

A provider turns a `GenerationRequest` into a stream: any number of `TextDelta`, then exactly one `Finished`.
Nothing else is a completion: a stream that ends without its finish reason was cut, and raises. Three
providers
exist: the built-in ``local`` one (no network, no key), any endpoint that speaks OpenAI's chat completions,
    and Anthropic's messages. The SDKs of the latter two are extras and are imported when a generation first
    needs them.

What every provider keeps to:

- It owns its HTTP stream and closes it in ``finally``, whether the consumer finished, broke off or was
  cancelled. Leaving a ``for`` loop over an SDK's stream does not abort the request; closing the response
  does.
- It never retries; when and how often is the effect worker's decision.
- It fails with `ProviderError` alone, whose reason is stable and whose message is one sentence without a key.
"""
