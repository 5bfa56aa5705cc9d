"""Hooks and additional checks for Schemathesis, loaded by test/parity/fuzz.all.spec.ts."""

import json
import os
import zlib

import schemathesis

# Existing ids by path prefix. Half of the calls use them, the others use ids that do not exist.
THERE: dict[str, dict[str, str]] = json.loads(os.environ["GRAFT_FUZZ_THERE"])


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method.upper() == "DELETE" or not case.path_parameters:
        return
    if zlib.crc32(repr(sorted(case.path_parameters.items())).encode()) % 2:
        return
    for start, ids in THERE.items():
        if case.path.startswith(start):
            case.path_parameters.update({k: v for k, v in ids.items() if k in case.path_parameters})


@schemathesis.check
def answers_as_documented(context, response, case):
    """Fails for a 5xx status, except 503 with Retry-After, and for an undocumented status below 400."""
    status = response.status_code
    documented = case.operation.definition.raw.get("responses", {})
    if status >= 500 and not (status == 503 and "retry-after" in response.headers):
        raise AssertionError(f"{status}: {response.text[:500]}")
    if status < 400 and str(status) not in documented:
        raise AssertionError(f"{status} is not among {', '.join(documented)}")
