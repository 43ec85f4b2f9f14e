"""A plug-in: what a parcel costs, when it may leave, and how a carrier is booked."""

from datetime import timedelta

from durachart.plugins import EffectCall, EffectRejected, Plugin, Step

plugin = Plugin("parcel-rules", version="1")

CENTS_PER_KILOGRAM = {"near": 300, "far": 900}


@plugin.guard("isWorkday")
def is_workday(step: Step) -> bool:
    """Parcels leave from Monday to Friday; `step.now` is the recorded instant, never the machine's clock."""
    return step.now.weekday() < 5


@plugin.action("quotePrice")
def quote_price(step: Step) -> dict[str, int]:
    """What it gives is laid over the context."""
    weight_kg = sum(item["weight_g"] for item in step.context["items"]) / 1000
    return {"price_cents": round(weight_kg * CENTS_PER_KILOGRAM[step.event["zone"]])}


@plugin.delay("carrierPatience")
def carrier_patience(step: Step) -> timedelta:
    """Valuable parcels are asked about sooner."""
    return timedelta(days=1 if step.context["price_cents"] > 1_000 else 3)


@plugin.effect("carrier.book", concurrency=4)
async def book_carrier(call: EffectCall) -> dict[str, str]:
    """Runs after the transition is on disk, at least once; here a carrier would be called."""
    if call.params["price_cents"] > 100_000:
        raise EffectRejected("TOO_VALUABLE", "No carrier insures a parcel of more than 1,000 euros.")
    return {"tracking": f"TRACK-{call.instance_id}"}
