"""Listings: items one after the other, or page by page for those who keep the page token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic

from durachart_client.models import Item, Page

Fetch = Callable[[str], Awaitable[Page[Item]]]
"""One page, by its token."""


class Listing(Generic[Item]):
    """All items of a listing in the service's order, fetched page by page as they are asked for.

    Each page is one call, so that what changes meanwhile may show in later pages. Nothing is held between
    pages: a listing can be left at any item, and iterated again from its start.
    """

    def __init__(self, fetch: Fetch[Item], page_token: str) -> None:
        self._fetch = fetch
        self._page_token = page_token

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[Item]]:
        """The pages; each carries the token where the next begins."""
        token = self._page_token
        while True:
            page = await self._fetch(token)
            yield page
            token = page.next_page_token
            if not token:
                return
