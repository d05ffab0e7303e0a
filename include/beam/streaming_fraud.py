"""Entry point of the streaming fraud job (and, with ``--source files``, of its replay over landed files).

Locally::

    python include/beam/streaming_fraud.py --runner PrismRunner --prism_location PRISM \
        --kafka_bootstrap_servers HOST:PORT --profiles profiles.ndjson --alerts_topic fraud_alerts
        --metrics_topic stream_metrics
"""

from __future__ import annotations

import sys

from madhatter_provider.beam.pipeline import run

if __name__ == "__main__":
    sys.exit(run())
