"""NVIDIA Triton with the TensorRT-LLM backend. Its request counters carry no _total.

An ensemble counts one request in each of its steps; only the model that counts tokens is taken. Gauges that pose
as counters (nv_trt_llm_general_metrics) are not read. Sources: core src/metrics.cc, the backend's
custom_metrics_reporter.cc.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="triton",
    title="Triton with the TensorRT-LLM backend",
    prefixes=("nv_",),
    counters={
        Quantity.PROMPT: one("llm_input_token_len_sum", response_metric_type="total_input_tokens"),
        Quantity.GENERATED: one("llm_output_token_len_sum", response_metric_type="total_output_tokens"),
        Quantity.REQUESTS: (
            Alternative(
                (
                    Metric("inference_request_success", outcome="success"),
                    Metric("inference_request_failure", outcome="failure"),
                )
            ),
        ),
    },
    running=(Metric("trt_llm_request_metrics", (("request_type", "active"),)),),
    waiting=(
        Metric("trt_llm_request_metrics", (("request_type", "waiting"),)),
        Metric("inference_pending_request_count"),
    ),
    needs=(
        Need((Quantity.PROMPT,), "llm_input_token_len_sum", "TensorRT-LLM backend 23.11 or newer"),
        Need((Quantity.GENERATED,), "llm_output_token_len_sum", "TensorRT-LLM backend 23.11 or newer"),
        Need((), "trt_llm_request_metrics", "TensorRT-LLM backend 23.11 or newer"),
    ),
    model_labels=("model",),
    token_models_only=True,
    note="with the TensorRT-LLM backend 23.11 or newer; the page is on port 8002.",
)
