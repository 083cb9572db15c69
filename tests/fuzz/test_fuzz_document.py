"""What schemathesis asks, by the document that the site itself serves."""

from __future__ import annotations

import pytest
from hypothesis import core, given
from hypothesis import strategies as st
from hypothesis.vendor import pretty
from schemathesis import GenerationMode
from schemathesis.generation.hypothesis.builder import (
    HypothesisTestConfig,
    HypothesisTestMode,
    create_test,
)

from tests.fuzz.shares import BOUNDARIES, CALLERS, DOCUMENT, LONGER, PROMISED, SHARES
from tests.fuzz.sites import fuzz

# schemathesis puts one here that prints nothing, for all tests of the run.
core.RepresentationPrinter = pretty.RepresentationPrinter

# The part of a caller's requests that must have come through.
LET_IN = {"nobody": 0.01, "token": 0.04, "API key": 0.02}
callers = pytest.mark.parametrize("caller", CALLERS)


def test_the_shares_add_up_to_what_is_promised():
    assert sum(SHARES) >= PROMISED


@callers
def test_the_boundaries_of_the_document(site, operations, caller):
    """Each type and each limit just met, just missed and left out; methods, types of
    content and parameters that the document does not have."""

    def ask(case):
        send(site, case, caller)

    for operation in operations:
        config = HypothesisTestConfig(
            modes=[HypothesisTestMode.COVERAGE],
            settings=fuzz(1),
            project=operation.schema.config,
        )
        create_test(operation=operation, test_func=ask, config=config)()
    assert site.answers >= BOUNDARIES
    assert site.let_in > LET_IN[caller], site.statuses


@pytest.mark.timeout(120 * LONGER)
@callers
def test_what_the_document_allows_and_what_it_does_not(site, operations, caller):
    cases = st.one_of(
        *(
            operation.as_strategy(generation_mode=mode)
            for operation in operations
            for mode in GenerationMode
        )
    )

    @fuzz(DOCUMENT)
    @given(case=cases, is_real=st.booleans())
    def run(case, is_real):
        if is_real:
            put_real(site, case)
        send(site, case, caller)

    run()
    assert site.answers >= DOCUMENT * LONGER
    assert site.let_in > LET_IN[caller], site.statuses


def put_real(site, case):
    """Names of what exists: no luck would lead there."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            found = {name: site.real(name) for name in place}
            place.update({name: it for name, it in found.items() if it is not None})


def send(site, case, caller):
    # The document knows nothing of these, so that they take no credential's place.
    headers = {**site.headers(caller), "Accept-Encoding": "identity"}
    answer = case.call(headers=headers)
    headers = {name.title(): values[0] for name, values in answer.headers.items()}
    headers["WWW-Authenticate"] = headers.get("Www-Authenticate", "")
    site.judge(answer.request.method, answer.status_code, headers, answer.content)
    if answer.status_code == 401 and caller == "token":
        site.renew()  # it signed out, or changed its password
