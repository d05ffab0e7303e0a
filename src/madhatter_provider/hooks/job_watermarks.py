"""The watermarks of the active jobs of some names, with what could not be asked left out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from madhatter_provider.core.operations.job_watermark import JobWatermark, data_watermark
from madhatter_provider.hooks.dataflow import MadhatterDataflowHook

log = logging.getLogger(__name__)
_ANSWER_SECONDS = 10.0


def job_watermarks(
    names: Sequence[str], gcp_conn_id: str, location: str, project_id: str | None = None
) -> list[JobWatermark]:
    """What Dataflow does not tell is logged and left out: the ledger has to do then.

    :param names: exact names of jobs.
    """
    found = []
    for name in names:
        try:
            hook = MadhatterDataflowHook(gcp_conn_id, location, project_id, timeout=_ANSWER_SECONDS)
            job = hook.active_job(name)
            watermark = None if job is None else data_watermark(hook.metrics(job["id"]))
        except Exception as err:  # whatever it is: a job that nobody reaches must not hide other checks
            log.warning("No watermark of %s: %s", name, err)
            continue
        if job is None or watermark is None:
            log.warning("No watermark of %s: %s", name, "no active job" if job is None else "it tells none")
            continue
        found.append(JobWatermark(name, str(job["id"]), watermark))
    return found
