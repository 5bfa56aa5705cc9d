"""OpenAI's client for Python, which here validates every response strictly against the SDK's types."""

import os
import re
import time

import pydantic
from openai import OpenAI, _base_client
from openai._models import construct_type

validated = set()
problems = []
requests = set()


def validate(*, type_, value):
    """Validates a response. By default, the SDK builds the type without validation."""
    name = getattr(type_, "__name__", str(type_))
    validated.add(name)
    for one in value.get("data", [value]):
        if isinstance(one, dict):
            excuse(one)
    try:
        return pydantic.TypeAdapter(type_).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        problems.extend(f"{name}: {'.'.join(map(str, one['loc']))}: {one['msg'][:200]}" for one in error.errors())
        return construct_type(type_=type_, value=value)


def excuse(one):
    """Replaces values that OpenAI's API or its documentation has, but not the types of the SDK."""
    kind = one.get("object", "")
    if kind.startswith("eval.run"):
        holder = one.get("sample") if kind == "eval.run.output_item" else one
        if holder.get("error", "") is None:
            holder["error"] = {"code": "", "message": ""}
    if kind == "file" and one.get("purpose") == "evals":
        one["purpose"] = "user_data"
    if kind == "fine_tuning.job" and one.get("status") == "paused":
        one["status"] = "queued"
    if kind == "text_completion" and "usage" in one and one["usage"] is None:
        # A piece of a stream, which has the type of a whole completion.
        for choice in one["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"


class Client(OpenAI):
    """Notes the requests that it sends."""

    def _prepare_request(self, request):
        path = re.sub(r"^.*?/v1/", "/v1/", request.url.path)
        requests.add(f"{request.method} {path}")


_base_client.validate_type = validate
client = Client(
    max_retries=0,
    admin_api_key=os.environ["OPENAI_API_KEY"],
    _strict_response_validation=True,
)


def until(what, look, seconds=120):
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)
    return found
