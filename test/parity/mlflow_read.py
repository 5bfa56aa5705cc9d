"""Prints the runs of an experiment on an MLflow server as JSON. Arguments: address of the server, name of the
experiment.
"""

import json
import sys

from mlflow import MlflowClient

client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id])
print(
    json.dumps(
        [
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "start_time": run.info.start_time,
                "end_time": run.info.end_time,
                "params": run.data.params,
                "tags": run.data.tags,
                "metrics": {
                    key: [[m.step, m.timestamp, str(m.value)] for m in client.get_metric_history(run.info.run_id, key)]
                    for key in run.data.metrics
                },
            }
            for run in runs
        ]
    )
)
