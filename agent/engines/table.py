"""The one table of engines that Joulecar reads. A new engine is one file, one line here, one recorded page."""

from __future__ import annotations

from collections.abc import Mapping

from agent.engines import custom, dynamo, llamacpp, lmdeploy, sglang, tgi, triton, trtllm, vllm
from agent.engines.spec import EngineSpec

# In the order in which a page is tried: an engine before what may pass its metrics through.
ENGINES: Mapping[str, EngineSpec] = {
    spec.kind: spec
    for spec in (
        vllm.SPEC,
        sglang.SPEC,
        tgi.SPEC,
        llamacpp.SPEC,
        trtllm.SPEC,
        triton.SPEC,
        lmdeploy.SPEC,
        dynamo.SPEC,
        custom.SPEC,
    )
}

# Pages that speak of tokens which an engine behind them counts already, by the beginning of their metric names.
GATEWAYS: Mapping[str, str] = {
    "litellm_": "LiteLLM's proxy",
    "sglang_router_": "SGLang's router",
    "smg_": "SGLang's model gateway",
}
